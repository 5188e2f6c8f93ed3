import json
from pathlib import Path
from typing import Any

import pytest

from mimik.errors import UserError
from mimik.storage.records import KINDS, command_for, faults, read_record

CONFIG = {
    "module": "stargan", "image_size": 64, "sizes": [64], "classes": ["neutral", "happiness"], "attributes": [],
    "config": {}, "condition": {}, "architectures": {}, "template": None, "seed": 0,
}  # fmt: skip


def refused(folder: Path, value: Any, kind: str = "method", needs: tuple[str, ...] = ("module",)) -> str:
    path = folder / "results" / "synthetic" / "stargan" / "config.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    with pytest.raises(UserError) as caught:
        read_record(path, kind, needs)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def test_what_is_as_it_should_be_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**CONFIG, "something": "else"}))
    assert read_record(path, "method", CONFIG) == {**CONFIG, "something": "else"}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("classes", 5, "classes: expected a list of distinct class names, at least one; it is 5"),
        ("classes", [], "at least one; it is []"),
        ("classes", ["a", "a"], "distinct"),
        ("classes", [[]], "classes.0: expected a name; it is []"),
        ("image_size", "x", "image_size: expected a side in pixels, a whole number from 4 to 4,096; it is 'x'"),
        ("image_size", True, "image_size: expected a side in pixels"),
        ("image_size", 64.0, "image_size: expected a side in pixels"),
        ("image_size", 10**400, "image_size: expected a side in pixels"),
        ("module", "../os", "module: expected the name of a module of mimik, or"),
        ("config", [], "config: expected a group of settings; it is []"),
        ("architectures", {"os": {}}, "architectures: expected segmenter or depth_network; it is 'os'"),
        ("architectures", {"segmenter": None}, "architectures.segmenter: expected a group of settings; it is None"),
        ("template", {"a": [[[[[[[[1]]]]]]]]}, "template: expected a name, or null"),
    ],
)
def test_a_fault_names_the_key_what_was_expected_and_the_command(
    tmp_path: Path, key: str, value: Any, told: str
) -> None:
    message = refused(tmp_path, {**CONFIG, key: value})
    assert told in message
    assert message.endswith("Run `mimik train synthetic stargan` to make it.")
    assert "\n" not in message and len(message) < 400


@pytest.mark.parametrize("value", [[], None, 5, "x", True])
def test_what_is_no_group_is_told(tmp_path: Path, value: Any) -> None:
    assert "the whole file: expected a group, the config.json of a trained method" in refused(tmp_path, value)


def test_what_lacks_is_told_by_its_keys(tmp_path: Path) -> None:
    message = refused(tmp_path, {"image_size": 64}, needs=("module", "classes", "image_size"))
    assert message.startswith("lacks `module`, `classes`; expected the config.json of a trained method")


def test_long_lists_of_numbers_are_checked_in_one_pass(tmp_path: Path) -> None:
    manifest = {"rows": list(range(300_000)), "source_labels": [0] * 300_000, "classes": ["a"], "size": 64}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest))
    assert read_record(path, "translations")["rows"][-1] == 299_999
    told = refused(tmp_path, {**manifest, "rows": [0, "1"]}, "translations", ())
    assert "rows: expected rows of the dataset, at least one; it is [0, '1']" in told


@pytest.mark.parametrize(
    ("path", "kind", "command"),
    [
        ("results/synthetic/hier_seg/config.json", "method", "mimik train synthetic hier_seg"),
        ("data/pretrained/rafd/classifier/small/config.json", "network", "mimik pretrain rafd classifier small"),
        ("data/prepared/rafd/manifest.json", "prepared", "mimik data prepare rafd"),
        ("results/rafd/stargan/translations/manifest.json", "translations", "mimik translate rafd stargan"),
        ("results/rafd/stargan/metrics.json", "metrics", "mimik evaluate rafd stargan"),
        ("/a b/C/config.json", "method", "mimik train NAME NAME"),
    ],
)
def test_the_command_has_the_names_of_the_folders(path: str, kind: str, command: str) -> None:
    assert command_for(path, kind) == command


def test_every_schema_is_one_and_says_what_it_expects() -> None:
    from jsonschema import Draft202012Validator

    def described(schema: Any) -> bool:
        inner = [*schema.get("properties", {}).values(), *(schema[k] for k in ("items",) if k in schema)]
        return "description" in schema and all(map(described, inner))

    for kind in KINDS.values():
        Draft202012Validator.check_schema({"properties": dict(kind.schema)})
        assert all(described(entry) for entry in kind.schema.values()), kind.what
    assert list(faults({"a": 1}, {"properties": {"a": {"description": "a text", "type": "string"}}})) == [
        "a: expected a text; it is 1"
    ]
