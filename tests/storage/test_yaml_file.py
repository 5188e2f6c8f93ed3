from pathlib import Path

import pytest
import yaml

from mimik.errors import UserError
from mimik.storage.yaml_file import read_yaml

ROOT = Path(__file__).parents[2]
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_a_sound_file_is_what_yaml_says() -> None:
    shipped = ROOT / "params.yaml"
    assert read_yaml(shipped, "") == yaml.safe_load(shipped.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "line 5: the key 'c' occurs twice in its group, first in line 3"),
        (b"x: &x {a: 1}\ny: {<<: *x, b: 1, b: 2}\n", "line 2: the key 'b' occurs twice"),
        (b"a: 1\n1: 2\n", "line 2: the key '1' is not read as text"),
        (b"on: 2\n", "line 1: the key 'on' is not read as text"),
        ("a: 1\nb: é\n".encode("latin-1"), "expected text in UTF-8; line 2 is in another encoding"),
        ("a: 1\n".encode("utf-16"), "expected text in UTF-8; it looks like UTF-16"),
        (b"a: " + b"9" * 5000, "line 1: not a whole number, or one with thousands of digits"),
        (BOMB.encode(), "aliases expand to more than 1,000,000 values"),
        (b"a: &a [*a]", "groups are nested more than 50 deep"),
        (b"[" * 100_000, "groups are nested more than 50 deep"),
        (b"a: [", "not readable as YAML"),
        (b"a: \x00", "not readable as YAML"),
        (b"a: !!python/object/apply:os.system [true]", "not readable as YAML"),
        (b"a: 2020-99-99", "not readable as YAML"),
        (b"a: !!int x", "not a whole number"),
        (b"a: !!timestamp x", "not readable as YAML"),
        (b"a: 1\n---\nb: 2\n", "not readable as YAML"),
    ],
)
def test_what_yaml_would_guess_drop_or_choke_on_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_yaml(path, "")
    assert str(caught.value).startswith(f"{path}: ") and told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_merges_keep_working_and_a_key_may_override_them(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("\ufeffa: &a {x: 1, y: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, z: 3}\nd: *b\n", encoding="utf-8")
    two = {"x": 2, "y": 1}
    assert read_yaml(path, "") == {"a": {"x": 1, "y": 1}, "b": two, "c": {**two, "z": 3}, "d": two}
    path.write_bytes(b"")
    assert read_yaml(path, "") is None


def test_what_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file\. Do this\."):
        read_yaml(tmp_path / "params.yaml", "Do this.")
    with pytest.raises(UserError, match="expected a readable file"):
        read_yaml(tmp_path, "Do this.")
