"""JSON files that describe something, and one reader for all of them: nothing is taken from a file unchecked.

A reader of such a file gets what the schema here promises, or a `UserError` that names the file, the key, the expected
value, the actual value, and the command that makes the file.
"""

import re
import reprlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from mimik.errors import UserError
from mimik.storage.files import read_json

Schema = Mapping[str, Any]

NAME = "^[a-z][a-z0-9_]*$"
"""Names of entries of params.yaml, and of modules of mimik."""

MODULE = rf"{NAME}|^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+$"
"""Names of modules: of mimik, or of other packages with a dot."""


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        what: it is, for messages.
        command: that makes it; `{0}`, `{1}` ... are the names of its folder, of that one's folder, and so on.
        schema: of its content; which keys have to be there depends on the reader.
    """

    what: str
    command: str
    schema: Schema


def _text(description: str, **more: Any) -> Schema:
    return {"description": description, "type": "string", "maxLength": 10_000, **more}


def _names(description: str, least: int = 0) -> Schema:
    items = {"description": "a name", "type": "string", "minLength": 1, "maxLength": 200}
    return {"description": description, "type": "array", "uniqueItems": True, "minItems": least, "items": items}


def _whole(description: str, least: int, most: int) -> Schema:
    told = f"{description}, a whole number from {least} to {most:,}"
    return {"description": told, "type": "integer", "minimum": least, "maximum": most}


def _numbers(description: str, **more: Any) -> Schema:
    return {"description": description, "type": "array", **more}


_GROUP: Schema = {"description": "a group of settings", "type": "object"}
_MODULE = _text("the name of a module of mimik, or PACKAGE.MODULE of another package", pattern=MODULE)
_SIDE = _whole("a side in pixels", 4, 4096)
_SHARE: Schema = {"description": "a number from 0 to 1", "type": "number", "minimum": 0, "maximum": 1}
_SHA256 = _text("a SHA-256 in hexadecimal")
_RUN: Schema = {
    "dataset": _text("the name of a dataset"),
    "method": _text("the name of a method"),
    "scale": _text("the name of a scale"),
    "seed": _whole("a seed", 0, 2**63 - 1),
    "config_digest": _SHA256,
    "dataset_digest": _text("the digest of a prepared dataset"),
    "classes": _names("a list of distinct class names, at least one", 1),
}

_COUNTS: Schema = {
    "description": "numbers of faces by class",
    "type": "object",
    "additionalProperties": _whole("a number of faces", 0, 10**9),
}
_LABELS_USED: Schema = {
    "description": "what a training made of scores of labels",
    "type": "object",
    "required": ["action", "folds", "faces", "doubted", "left_out"],
    "properties": {
        "action": {"description": "keep, weight or leave_out", "enum": ["keep", "weight", "leave_out"]},
        "folds": _whole("a number of folds", 2, 1000),
        **dict.fromkeys(("faces", "doubted", "left_out"), _COUNTS),
    },
}

_EDITED = {
    "description": "the continuous edits that are shown: rows, levels, and targets or names",
    "type": "object",
    "required": ["rows", "levels"],
    "properties": {
        "rows": _numbers("rows of the dataset", whole=True),
        "levels": _numbers("a list of numbers", items={"description": "a number", "type": "number"}),
        "targets": _numbers("positions of classes", whole=True),
        "names": _names("a list of distinct names"),
        "like": _numbers("rows of the dataset", whole=True),
    },
}

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "method": Kind(
            "config.json of a trained method",
            "mimik train {1} {0}",
            {
                **_RUN,
                "module": _MODULE,
                "image_size": _SIDE,
                "sizes": _numbers("a list of sides in pixels", minItems=1, items=_SIDE),
                "attributes": _names("a list of distinct names of attributes"),
                "config": _GROUP,
                "condition": _GROUP,
                "guidance": _GROUP,
                "training": _GROUP,
                "architectures": {
                    "description": "groups of settings by kind: segmenter, depth_network",
                    "type": "object",
                    "additionalProperties": _GROUP,
                    "propertyNames": {
                        "description": "segmenter or depth_network",
                        "enum": ["segmenter", "depth_network"],
                    },
                },
                "networks": _GROUP,
                "template": {"description": "a name, or null", "type": ["string", "null"]},
                "run_key": _text("the key of a run"),
                "label_quality": _LABELS_USED,
                "environment": {"description": "a group", "type": "object"},
                "imported": _GROUP,
                "exported": {
                    "description": "the terms of an exported method",
                    "type": "object",
                    "required": ["restricted", "reason", "licence", "citation"],
                    "properties": {
                        "restricted": {"description": "true or false", "type": "boolean"},
                        **dict.fromkeys(("reason", "licence", "citation", "precision"), _text("a text")),
                    },
                },
                "submitted": {
                    "description": "what is known of a method whose pictures were made elsewhere",
                    "type": "object",
                    "required": ["description", "licence", "attributes"],
                    "properties": {
                        "description": _text("a text"),
                        "licence": _text("a text"),
                        "attributes": _names("a list of distinct names of attributes"),
                    },
                },
                "trained_on": {
                    "description": "grey and rendered, each true or false",
                    "type": "object",
                    "required": ["grey", "rendered"],
                    "additionalProperties": {"description": "true or false", "type": "boolean"},
                },
            },
        ),
        "network": Kind(
            "config.json of a pre-trained network",
            "mimik pretrain {2} {1} {0}",
            {
                "kind": _text("segmenter, depth_network, classifier or reader"),
                "name": _text("a name"),
                "dataset": _text("the name of a dataset"),
                "dataset_digest": _text("the digest of a prepared dataset"),
                "image_size": _SIDE,
                "architecture": _GROUP,
                "critic": _GROUP,
                "classes": _names("a list of distinct class names, at least one", 1),
                "identity_dim": _whole("a length", 1, 100_000),
                "action_units": {"description": "a name, or null", "type": ["string", "null"]},
                "model_sha256": _SHA256,
                "imported": _GROUP,
            },
        ),
        "prepared": Kind(
            "manifest.json of a prepared dataset",
            "mimik data prepare {0}",
            {
                "dataset": _text("the name of a dataset"),
                "digest": _text("a digest"),
                "sizes": _numbers("a list of sides in pixels, at least one", minItems=1, items=_SIDE),
                "classes": _names("a list of distinct class names"),
                "source": {"description": "rendered or photographs", "enum": ["rendered", "photographs"]},
                "options": _GROUP,
                "seed": _whole("a seed", 0, 2**63 - 1),
                "annotations": _names("a list of distinct names"),
                "arrays": {
                    "description": "SHA-256 by the names of files",
                    "type": "object",
                    "additionalProperties": _SHA256,
                    "propertyNames": {"description": "the name of a file", "pattern": r"^[a-z0-9_]+\.npy$"},
                },
                "importer": {
                    "description": "the importer of the dataset, or null",
                    "type": ["object", "null"],
                    "required": ["module"],
                    "properties": {"module": _MODULE},
                },
                "action_units": {
                    "description": "extractor and version, or null",
                    "type": ["object", "null"],
                    "required": ["extractor", "version"],
                    "properties": {"extractor": _text("a name"), "version": _text("a version")},
                },
                "licence": _text("a text"),
                "citation": _text("a text"),
                "template": {"description": "a name, or null", "type": ["string", "null"]},
            },
        ),
        "label_quality": Kind(
            "label_quality.json of a dataset's labels",
            "mimik data score {0}",
            {
                "dataset": _text("the name of a dataset"),
                "dataset_digest": _text("the digest of a prepared dataset"),
                "seed": _whole("a seed", 0, 2**63 - 1),
                "image_size": _SIDE,
                "folds": _whole("a number of folds", 2, 1000),
                "classifier": _GROUP,
                "classes": {
                    "description": "by class, its numbers",
                    "type": "object",
                    "additionalProperties": {
                        "description": "a group of faces, doubted, threshold and told_right",
                        "type": "object",
                        "required": ["faces", "doubted", "threshold", "told_right"],
                        "properties": {
                            "faces": _whole("a number of faces", 1, 10**9),
                            "doubted": _whole("a number of faces", 0, 10**9),
                            "threshold": _SHARE,
                            "told_right": _SHARE,
                        },
                    },
                },
                "scores_sha256": _SHA256,
            },
        ),
        "translations": Kind(
            "manifest.json of translations",
            "mimik translate {2} {1}",
            {
                "rows": _numbers("rows of the dataset, at least one", minItems=1, whole=True),
                "ids": _numbers("ids of faces"),
                "source_labels": _numbers("labels of the faces, -1 where unknown", whole=True),
                "mask_rows": _numbers("rows of the dataset `masked`", whole=True),
                "masked": {
                    "description": "the dataset that the masks are of: dataset, size and digest",
                    "type": "object",
                    "required": ["dataset", "size", "digest"],
                    "properties": {
                        "dataset": _text("the name of a dataset"),
                        "size": _SIDE,
                        "digest": _text("a digest"),
                    },
                },
                "classes": _names("a list of distinct names, at least one", 1),
                "size": _SIDE,
                "generator_sha256": _SHA256,
                "store_digest": _text("a digest"),
                "strengths": _EDITED,
                "action_units": _EDITED,
                "unit_changes": _EDITED,
                "exemplars": _EDITED,
                "guided_maps": {
                    "description": "the maps of guides that are shown: rows, targets and panels",
                    "type": "object",
                    "required": ["rows", "targets", "panels"],
                    "properties": {
                        "rows": _numbers("rows of the dataset", whole=True),
                        "targets": _numbers("positions of classes", whole=True),
                        "panels": {
                            "description": "a list of groups of a guide, a name, and `input` or `edit`",
                            "type": "array",
                            "items": {
                                "description": "a group of a guide, a name, and `input` or `edit`",
                                "type": "object",
                                "required": ["guide", "of", "name"],
                                "properties": {
                                    "guide": _text("the name of a guide"),
                                    "of": {"description": "input or edit", "enum": ["input", "edit"]},
                                    "name": _text("a name"),
                                },
                            },
                        },
                    },
                },
            },
        ),
        "submission": Kind(
            "method.json of pictures to be measured",
            "mimik data export DATASET --layout targets",
            {
                "dataset": _text("the name of a dataset"),
                "digest": _text("the digest of a prepared dataset"),
                "size": _SIDE,
                "name": _text("a name"),
                "description": _text("a text"),
                "licence": _text("a text"),
                "attributes": _names("a list of distinct names of attributes"),
            },
        ),
        "validation": Kind(
            "validation.json of a trained method",
            "mimik train {2} {1}",
            {
                "classes": _names("a list of distinct names, at least one", 1),
                "best": _whole("a step", 0, 2**62),
                "kept": _whole("a step", 0, 2**62),
                "rule": _text("a sentence"),
                "judge": _text("the name of a classifier"),
                "entries": {
                    "description": "a list of groups of a step and its measures",
                    "type": "array",
                    "items": {
                        "description": "a group of a step and its measures",
                        "type": "object",
                        "required": ["step"],
                        "properties": {"step": _whole("a step", 0, 2**62)},
                    },
                },
            },
        ),
        "metrics": Kind(
            "metrics.json of an evaluated method",
            "mimik evaluate {1} {0}",
            {
                **_RUN,
                "git_commit": {"description": "a commit, or null", "type": ["string", "null"]},
                "metrics": {"description": "groups by the name of a metric", "type": "object"},
            },
        ),
    }
)


def read_record(path: Path | str, kind: str, needs: Iterable[str] = ()) -> dict[str, Any]:
    """Read a JSON file of a kind.

    Args:
        path: the file.
        kind: of `KINDS`.
        needs: keys that have to be there; others are checked where they are.

    Raises:
        UserError: the file is missing, damaged, or not what it should be. Where jsonschema is not installed only the
            keys are looked for, and that is said once.
    """
    path, made = Path(path), KINDS[kind]
    remedy = f"Run `{command_for(path, kind)}` to make it."
    value = read_json(path, remedy)
    schema = {"description": f"a group, the {made.what}", "type": "object", "properties": made.schema}
    missing = [key for key in needs if key not in value] if isinstance(value, Mapping) else []
    if missing:
        raise UserError(
            f"{path}: lacks {', '.join(f'`{key}`' for key in missing)}; expected the {made.what} in the format of this "
            f"version of mimik. {remedy}"
        )
    if not isinstance(value, Mapping) and not _checks():
        raise UserError(f"{path}: expected a group, the {made.what}. {remedy}")
    found = list(faults(value, schema)) if _checks() else []
    if found:
        told = found[0] if len(found) == 1 else "\n  ".join([f"{len(found)} entries cannot be used.", *found[:5]])
        raise UserError(f"{path}: {told.rstrip('.')}. {remedy}")
    return dict(value)


def command_for(path: Path | str, kind: str) -> str:
    """The command that makes a file of a kind, with the names that its folders suggest."""
    folders = [folder.name for folder in Path(path).absolute().parents]
    names = [name if re.match(NAME, re.sub(r"@\d+$", "", name)) else "NAME" for name in (*folders, "", "", "")[:3]]
    return KINDS[kind].command.format(*names)


def faults(value: Any, schema: Schema) -> Iterator[str]:
    """What is wrong with a value, place by place: "place: expected this; it is that".

    Args:
        value: of JSON or YAML.
        schema: JSON schema (draft 2020-12), the `description`s of which say what is expected; besides, an array with
            the keyword `whole` holds whole numbers only, and whole numbers have no decimal point.

    Raises:
        UserError: jsonschema is not installed.
    """
    found = sorted(_validator()(schema).iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
    for error in found:
        place = ".".join(str(step) for step in error.absolute_path) or "the whole file"
        yield f"{place}: {_explanation(error)}"


def shown(value: Any) -> str:
    """A value in a message: short, whatever it is."""
    told = _short().repr(value)
    return told if len(told) < 80 else told[:77] + "..."


@cache
def _short() -> reprlib.Repr:
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 70
    return short


@cache
def _checks() -> bool:
    """Whether records can be checked: jsonschema is installed. Says so once where it is not, as on a bare machine."""
    try:
        import jsonschema  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "jsonschema":
            raise
        print("mimik: jsonschema is not installed, so the content of files is not checked.", file=sys.stderr)
        return False
    return True


@cache
def _validator() -> Callable[[Schema], Any]:
    try:
        from jsonschema import Draft202012Validator, ValidationError, validators
    except ModuleNotFoundError as error:
        if error.name != "jsonschema":
            raise
        raise UserError(
            "The content of files cannot be checked because jsonschema is not installed. Run `pip install jsonschema`."
        ) from error

    def whole(_validator: Any, wanted: bool, instance: Any, _schema: Schema) -> Iterator[ValidationError]:
        # One pass in place of a schema for every one of a hundred thousand items.
        if wanted and isinstance(instance, Sequence) and any(type(item) is not int for item in instance):
            yield ValidationError("contains values other than whole numbers")

    checker = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    made: Callable[[Schema], Any] = validators.extend(Draft202012Validator, {"whole": whole}, type_checker=checker)
    return made


def _explanation(error: Any) -> str:
    """One line on a fault the schema found; the schema's `description` says what was expected."""
    expected = error.schema.get("description") if isinstance(error.schema, Mapping) else None
    if error.validator in ("required", "additionalProperties", "unevaluatedProperties"):
        return str(error.message) if len(error.message) < 200 else f"{error.validator} is violated"
    if expected:
        return f"expected {expected}; it is {shown(error.instance)}"
    return str(error.message) if len(error.message) < 200 else f"{error.validator} is violated"
