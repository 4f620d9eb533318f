"""What a probe found, in a sentence, and what that does not prove."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.radius import short_radius

_ALREADY = "without any change"


def verdict_sentence(report: Mapping[str, Any]) -> str:
    """The first thing to read of a report, such as "Holds up to 6/255; at 7/255 the model says dog."

    That it holds is said only where the attack was neither cut short nor doubted by a check.

    Args:
        report: the JSON object of `/probe`.
    """
    norm, smallest = report["threat"]["norm"], report["minimal_eps"]
    if smallest["flipped"] == 0:
        return f"The model says {report['prediction']['label']} {_ALREADY}."
    flip = _flip(report)
    if not _trusted(report):
        doubt = f"Whether it holds up to {short_radius(report['threat']['eps'], norm)} is not known"
        return f"{_capital(flip)}." if report["verdict"] == "flipped" else f"{doubt}{_after(flip)}."
    if smallest["held"]:
        return f"Holds up to {short_radius(smallest['held'], norm)}{_after(flip)}."
    return f"{_capital(flip)}." if flip else "Nothing was attacked."


def caveat(report: Mapping[str, Any]) -> str | None:
    """What the sentence does not prove; None where it claims nothing that needs proof."""
    smallest = report["minimal_eps"]
    if not smallest["held"] or smallest["flipped"] == 0 or not _trusted(report):
        return None
    return (
        "That it holds is no proof: the attack found nothing closer, another might. "
        "What flips it is certain: the model was asked."
        if smallest["flipped"] is not None
        else "That it holds is no proof: this attack found nothing, another might."
    )


def _trusted(report: Mapping[str, Any]) -> bool:
    return not report["budget"]["exhausted"] and all(check["passed"] for check in report["evidence"])


def _flip(report: Mapping[str, Any]) -> str:
    """What is known of the nearest example; empty if there is none."""
    flipped, norm = report["minimal_eps"]["flipped"], report["threat"]["norm"]
    if flipped is None:
        return ""
    # Of the smallest ball that holds an example: with --eps it may be larger than the example's distance.
    ball = next((point for point in report["curve"] if point["flipped"]), None)
    if ball is None or ball["label"] is None:
        return f"a change of {short_radius(flipped, norm)} flips the answer"
    if ball["eps"] == flipped:
        return f"at {short_radius(flipped, norm)} the model says {ball['label']}"
    return f"within {short_radius(ball['eps'], norm)} the model says {ball['label']}"


def _after(flip: str) -> str:
    return f"; {flip}" if flip else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
