"""What a probe found, in a sentence, and what that does not prove."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cli.radius import flipped_radius, held_radius, short_radius


def verdict_sentence(report: Mapping[str, Any]) -> str:
    """The first thing to read of a report, such as "Holds up to 6/255; at 7/255 it becomes a dog."

    That it holds is said only where the attack was neither cut short nor doubted by a check, and never of a
    probe towards a target: the answer may become another class at less.

    Args:
        report: the JSON object of `/probe`.
    """
    norm, smallest, target = report["threat"]["norm"], report["minimal_eps"], report["goal"]["target"]
    if smallest["flipped"] == 0:
        return f"It already is {_a_class(report['prediction']['label'])}: nothing has to be changed."
    flip = _flip(report)
    if smallest["held"] and _trusted(report):
        vain = "Holds" if target is None else f"No way to {_a_class(target)} was found"
        return f"{vain} up to {held_radius(smallest['held'], norm)}{_after(flip)}."
    if report["verdict"] == "inconclusive":
        size = short_radius(report["threat"]["eps"], norm)
        asked = (
            f"it holds up to {size}" if target is None else f"it can become {_a_class(target)} within {size}"
        )
        return f"Whether {asked} is not known{_after(flip)}."
    return f"{flip[:1].upper()}{flip[1:]}." if flip else "Nothing was attacked."


def caveat(report: Mapping[str, Any]) -> str | None:
    """What the sentence does not prove; None where it claims nothing that needs proof."""
    smallest, target = report["minimal_eps"], report["goal"]["target"]
    if not smallest["held"] or smallest["flipped"] == 0 or not _trusted(report):
        return None
    claim = "That it holds" if target is None else "That"
    others = "" if target is None else " Another class may take less: ask without a target."
    if smallest["flipped"] is None:
        return f"{claim} is no proof: this attack found nothing, another might.{others}"
    return (
        f"{claim} is no proof: the attack found nothing closer, another might. "
        f"What flips it is certain: the model was asked.{others}"
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
    if ball is None:
        return f"a change of {flipped_radius(flipped, norm)} flips the answer"
    where = "at" if ball["eps"] == flipped else "within"
    return f"{where} {flipped_radius(ball['eps'], norm)} it becomes {_a_class(ball['label'])}"


def _a_class(label: str) -> str:
    """With its article where it is an ordinary word, in quotation marks otherwise."""
    if not re.fullmatch(r"[a-z]+( [a-z]+)*", label):
        return f"'{label}'"
    return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"


def _after(flip: str) -> str:
    return f"; {flip}" if flip else ""
