"""Simulated raters, for tests only."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mimik.study.key import Key

Rule = Callable[[str, list[str], int], str]
"""Question, the methods of the two pictures from left to right ("" for a face of the dataset), showing -> answer."""


def answers_of(key: Key, code: str, rule: Rule) -> dict[str, Any]:
    """The file of a rater who answers everything by a rule; `left` and `right` are the pictures."""
    given = []
    for pair, left, showing in key.sheets[code]:
        right = next(name for name in key.pairs[pair]["pictures"] if name != left)
        answer = rule(key.pairs[pair]["question"], [key.method_of(name) or "" for name in (left, right)], showing)
        given.append({"pair": pair, "showing": showing, "answer": {"left": left, "right": right}.get(answer, answer)})
    return {"study": key.study, "rater": code, "answers": given}


def send(folder: Path, content: dict[str, Any], name: str = "") -> Path:
    """Put a file where raters' files are put."""
    path = folder / "answers" / f"{name or content['rater']}.json"
    path.write_text(json.dumps(content))
    return path


def prefers(method: str) -> Rule:
    """A rater for whom a method is more real, of the same expression and of the same person, and no other is."""

    def rule(question: str, methods: list[str], _showing: int) -> str:
        shown = method in methods
        if question == "realism":
            return "left" if methods[0] == method else "right"
        return {"similarity": "2" if shown else "0", "identity": "yes" if shown else "no"}[question]

    return rule
