"""Parameters of a request, from the query and from form fields: each known, each given once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from serving.problems import Problem


def collect(
    query: Iterable[tuple[str, str]], fields: Iterable[tuple[str, str]], *, known: Iterable[str]
) -> Mapping[str, str]:
    """The parameters by name.

    Raises:
        Problem: invalid_parameter, for an unknown or repeated one.
    """
    accepted = tuple(known)
    values: dict[str, str] = {}
    for name, value in (*query, *fields):
        if name not in accepted:
            raise invalid(name, f"there is no parameter {name!r}; accepted are: {', '.join(accepted)}")
        if name in values:
            raise invalid(
                name, f"{name!r} is given more than once: give it once, in the query or in the form"
            )
        values[name] = value.strip()
    return values


def invalid(name: str, detail: str, **extensions: object) -> Problem:
    """The problem of one wrong parameter."""
    return Problem("invalid_parameter", detail, headers=None, parameter=name, **extensions)


def integer(values: Mapping[str, str], name: str, *, default: int, low: int, high: int) -> int:
    """A whole number in [low, high].

    Raises:
        Problem: invalid_parameter.
    """
    text = values.get(name)
    if text is None:
        return default
    digits = text.removeprefix("-")
    # A cap on the length comes first: converting digits without end takes time without end.
    number = int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 19 else None
    if number is None or not low <= number <= high:
        raise invalid(name, f"{name} is {text[:40]!r}; give a whole number from {low} to {high}", limit=high)
    return number


def choice(values: Mapping[str, str], name: str, *, default: str, accepted: Iterable[str]) -> str:
    """One of some words.

    Raises:
        Problem: invalid_parameter.
    """
    words = tuple(accepted)
    word = values.get(name, default)
    if word not in words:
        raise invalid(
            name, f"{name} is {word[:40]!r}; accepted are: {', '.join(words)}", accepted=list(words)
        )
    return word


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyParameters:
    """What a request to /classify asks for."""

    model: str | None
    top: int
    with_input: bool


CLASSIFY_PARAMETERS = ("model", "top", "include")
CLASSIFY_INCLUDES = ("input",)
DEFAULT_TOP = 5
MAX_TOP = 1000


def classify_parameters(
    query: Iterable[tuple[str, str]], fields: Iterable[tuple[str, str]]
) -> ClassifyParameters:
    """Reads the parameters of /classify. `top` larger than the number of classes means all of them.

    Raises:
        Problem: invalid_parameter.
    """
    values = collect(query, fields, known=CLASSIFY_PARAMETERS)
    return ClassifyParameters(
        model=values.get("model"),
        top=integer(values, "top", default=DEFAULT_TOP, low=1, high=MAX_TOP),
        with_input="include" in values
        and choice(values, "include", default="", accepted=CLASSIFY_INCLUDES) == "input",
    )
