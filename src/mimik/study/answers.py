"""The answers of a rater, answers/<code>.json: read strictly, because a number of people's votes is only as good.

    {"study": "...", "rater": "<code>", "answers": [{"pair": "p001", "showing": 1, "answer": "2"}, ...]}

`answer` is one of the values of the question (`mimik.study.design.QUESTIONS`); of `realism` it is the chosen picture.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mimik.errors import UserError
from mimik.storage.files import read_json
from mimik.storage.records import faults
from mimik.study.design import QUESTIONS
from mimik.study.key import Key

Answers = Mapping[tuple[str, int], str]
"""By pair and showing, the answer."""

_TEXT = {"description": "a text", "type": "string", "minLength": 1, "maxLength": 100}

SCHEMA: Mapping[str, Any] = {
    "description": "the answers of a rater: study, rater, answers",
    "type": "object",
    "required": ["study", "rater", "answers"],
    "additionalProperties": False,
    "properties": {
        "study": _TEXT,
        "rater": _TEXT,
        "answers": {
            "description": "a list of answers",
            "type": "array",
            "maxItems": 100_000,
            "items": {
                "description": "a group of pair, showing and answer",
                "type": "object",
                "required": ["pair", "showing", "answer"],
                "additionalProperties": False,
                "properties": {
                    "pair": _TEXT,
                    "showing": {"description": "1 or 2", "enum": [1, 2]},
                    "answer": _TEXT,
                },
            },
        },
    },
}

REMEDY = "Ask the rater to send the file again, or move it out of the folder."


def read_answers(folder: Path, key: Key) -> dict[str, Answers]:
    """The answers of all raters, by code, in the order of the key.

    Args:
        folder: with one JSON file for each rater, under any name.
        key: of the study.

    Raises:
        UserError: there is no file; one is damaged, or of another study; an unknown rater or pair, an answer that the
            question does not have; two answers of one rater to one pair.
    """
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not files:
        raise UserError(f"{folder}: no answers yet. Put the files that raters send back (*.json) there.")
    found: dict[str, Answers] = {}
    from_file: dict[str, Path] = {}
    for path in files:
        rater, answers = checked(read_json(path, REMEDY), key, str(path))
        if rater in from_file:
            raise UserError(
                f"{path}: holds answers of the rater {rater}, and so does {from_file[rater].name}. Keep one of them: "
                "the later one, if the rater sent the file twice."
            )
        found[rater], from_file[rater] = answers, path
    return {code: found[code] for code in key.sheets if code in found}


def checked(value: Any, key: Key, where: str) -> tuple[str, Answers]:
    """The rater and the answers of a file.

    Args:
        value: of JSON.
        key: of the study.
        where: it comes from, for messages.

    Raises:
        UserError: see `read_answers`.
    """
    for fault in faults(value, SCHEMA):
        raise UserError(f"{where}: {fault.rstrip('.')}. {REMEDY}")
    if value["study"] != key.study:
        raise UserError(f"{where}: belongs to the study {value['study']}; this one is {key.study}. {REMEDY}")
    rater = value["rater"]
    if rater not in key.sheets:
        raise UserError(f"{where}: the rater {rater!r} is not in this study; its codes are in raters.csv. {REMEDY}")
    shown = {(pair, showing) for pair, _, showing in key.sheets[rater]}
    answers: dict[tuple[str, int], str] = {}
    for number, entry in enumerate(value["answers"], 1):
        place = f"{where}: answer {number}"
        pair, showing, answer = entry["pair"], entry["showing"], entry["answer"]
        if pair not in key.pairs:
            raise UserError(f"{place}: there is no pair {pair!r} in this study. {REMEDY}")
        if (pair, showing) not in shown:
            raise UserError(f"{place}: the pair {pair} was not shown {showing} times to the rater {rater}. {REMEDY}")
        if (pair, showing) in answers:
            raise UserError(f"{place}: the rater {rater} answers showing {showing} of the pair {pair} twice. {REMEDY}")
        possible = possible_answers(key, pair)
        if answer not in possible:
            raise UserError(f"{place}: expected one of {', '.join(possible)}; it is {answer!r}. {REMEDY}")
        answers[pair, showing] = answer
    return rater, answers


def possible_answers(key: Key, pair: str) -> list[str]:
    """The answers to a pair: the two pictures, or the values of its question."""
    question = key.pairs[pair]["question"]
    if question == "realism":
        return list(key.pairs[pair]["pictures"])
    return [value for value, _, _ in QUESTIONS[question].choices]
