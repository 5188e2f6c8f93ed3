"""key.json of a study: which picture is of which method, and what each rater sees. Raters never get it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimik.errors import UserError
from mimik.storage.files import digest, read_json
from mimik.storage.records import faults
from mimik.study.design import QUESTIONS

KEY = "key.json"

_NAME = {"description": "a name", "type": "string", "minLength": 1, "maxLength": 200}
_WHOLE = {"description": "a whole number", "type": "integer", "minimum": 0}

SCHEMA: Mapping[str, Any] = {
    "description": "the key of a study",
    "type": "object",
    "required": ["study", "dataset", "dataset_digest", "seed", "truth", "methods", "pictures", "pairs", "sheets"],
    "properties": {
        "study": _NAME,
        "dataset": _NAME,
        "dataset_digest": _NAME,
        "seed": _WHOLE,
        "truth": {"description": "true or false", "type": "boolean"},
        "methods": {
            "description": "a list of methods, each with name, scale and generator_sha256",
            "type": "array",
            "minItems": 2,
            "items": {
                "description": "a group of name, scale and generator_sha256",
                "type": "object",
                "required": ["name", "scale", "generator_sha256"],
                "properties": {"name": _NAME, "scale": _NAME},
            },
        },
        "pictures": {
            "description": "by name of a picture, its face, expression and method",
            "type": "object",
            "additionalProperties": {
                "description": "a group of face, expression and method",
                "type": "object",
                "required": ["face", "expression", "method"],
                "properties": {
                    "face": _NAME,
                    "expression": _NAME,
                    "method": {"description": "a method, or null", "type": ["string", "null"]},
                },
            },
        },
        "pairs": {
            "description": "by name of a pair, its question, face, target and two pictures",
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "description": "a group of question, face, target and pictures",
                "type": "object",
                "required": ["question", "face", "target", "pictures"],
                "properties": {
                    "question": {"description": ", ".join(QUESTIONS), "enum": list(QUESTIONS)},
                    "face": _NAME,
                    "target": _NAME,
                    "pictures": {
                        "description": "two pictures",
                        "type": "array",
                        "minItems": 2,
                        "maxItems": 2,
                        "items": _NAME,
                    },
                },
            },
        },
        "sheets": {
            "description": "by code of a rater, what is shown",
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "description": "a list of pair, picture on the left, showing",
                "type": "array",
                "minItems": 1,
                "items": {
                    "description": "[pair, picture, 1 or 2]",
                    "type": "array",
                    "minItems": 3,
                    "maxItems": 3,
                    "prefixItems": [_NAME, _NAME, {"enum": [1, 2]}],
                },
            },
        },
    },
}


@dataclass(frozen=True)
class Key:
    """The content of key.json, checked.

    Attributes:
        study: digest of all the rest; the pages and the answers carry it.
        record: the whole file.
    """

    study: str
    record: Mapping[str, Any]

    @property
    def methods(self) -> list[str]:
        """Names of the methods, in the order in which they were named."""
        return [method["name"] for method in self.record["methods"]]

    @property
    def pairs(self) -> Mapping[str, Mapping[str, Any]]:
        """By name: question, face, target, pictures."""
        found: Mapping[str, Mapping[str, Any]] = self.record["pairs"]
        return found

    @property
    def sheets(self) -> Mapping[str, Sequence[tuple[str, str, int]]]:
        """By code: pair, picture on the left, showing."""
        found: Mapping[str, Sequence[tuple[str, str, int]]] = self.record["sheets"]
        return found

    def method_of(self, picture: str) -> str | None:
        """The method that made a picture; None for a face of the dataset and for a true target."""
        method: str | None = self.record["pictures"][picture]["method"]
        return method

    def edited_by(self, pair: str) -> list[str]:
        """The methods of a pair, in the order of its pictures."""
        return [method for picture in self.pairs[pair]["pictures"] if (method := self.method_of(picture))]


def study_of(content: Mapping[str, Any]) -> str:
    """The name of a study: digest of its key without the entry `study`."""
    return digest({name: value for name, value in content.items() if name != "study"})[:16]


def read_key(folder: Path) -> Key:
    """Read the key of a study.

    Raises:
        UserError: there is none, it is damaged, or it was changed since it was written.
    """
    path = folder / KEY
    remedy = "Name the folder that `mimik study make` wrote; without its key a study cannot be analysed."
    record = read_json(path, remedy)
    for fault in faults(record, SCHEMA):
        raise UserError(f"{path}: {fault.rstrip('.')}. {remedy}")
    if record["study"] != study_of(record):
        raise UserError(f"{path}: its content is not what `mimik study make` wrote: it was changed later. {remedy}")
    return Key(record["study"], record)
