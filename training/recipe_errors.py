"""What is wrong with the fields of a recipe, in the recipe's own words instead of pydantic's."""

from __future__ import annotations

import difflib
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from training.section import Section

_NO_SECTION = frozenset({"model_type", "model_attributes_type", "dict_type"})


def problems(error: ValidationError, recipe: type[Section]) -> str:
    """All that `error` found in a recipe, each after the path of its field.

    Args:
        recipe: the section that was validated, with all others in it.
    """
    return "; ".join(_problem(problem, recipe) for problem in error.errors())


def _problem(problem: ErrorDetails, recipe: type[Section]) -> str:
    path, section, tag = _place(problem["loc"], recipe)
    return f"{path or 'recipe'}: {_message(problem, section, tag)}"


def _place(loc: tuple[int | str, ...], recipe: type[Section]) -> tuple[str, type[Section], str]:
    """The path as a recipe writes it, the innermost section on it, and the name that chose it, if one did."""
    parts: list[str] = []
    section, by_tag, tag = recipe, dict[Any, type[Section]](), ""
    for part in loc:
        if part in by_tag:
            # Where a name decides which section it is, pydantic puts that name into the path.
            section, by_tag, tag = by_tag[part], {}, str(part)
            continue
        parts.append(str(part))
        field = section.model_fields.get(str(part))
        found = _sections(field.annotation) if field else []
        if len(found) == 1:
            section, tag = found[0], ""
        by_tag = {one.model_fields["name"].default: one for one in found} if len(found) > 1 else {}
    return ".".join(parts), section, tag


def _sections(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections(part)]


def _message(problem: ErrorDetails, section: type[Section], tag: str) -> str:
    kind = problem["type"]
    if kind == "extra_forbidden":
        return _unknown(str(problem["loc"][-1]), list(section.model_fields), tag)
    if kind == "union_tag_invalid":
        return f"name must be one of {problem['ctx']['expected_tags']}, not {problem['ctx']['tag']!r}"
    if kind in _NO_SECTION:
        return f"is a section with fields of its own, not {problem['input']!r}"
    return problem["msg"].removeprefix("Value error, ")


def _unknown(name: str, accepted: list[str], tag: str) -> str:
    near = difflib.get_close_matches(name, accepted, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    of = f" of {tag!r}" if tag else ""
    return f"unknown field{of}{meant}; accepted are: {', '.join(accepted)}"
