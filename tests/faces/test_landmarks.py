"""Precomputed landmarks, and FAN's weights from a mirror."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from mimik.errors import UserError
from mimik.faces import landmarks
from mimik.faces.landmarks import FAN_WEIGHTS, fetch_fan_weights, parse_landmarks


@pytest.mark.parametrize("separator", [";", ",", " ", "; "])
def test_reads_136_numbers(separator: str) -> None:
    points = np.arange(136).reshape(68, 2) / 4
    found = parse_landmarks(separator.join(str(number) for number in points.ravel()))
    assert np.array_equal(found, points)


@pytest.mark.parametrize("text", ["", "1;2;3", ";".join(["1"] * 135 + ["nan"]), ";".join(["x"] * 136)])
def test_refuses_anything_else(text: str) -> None:
    with pytest.raises(ValueError):
        parse_landmarks(text)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror with stand-ins for the two files, and a table that knows them."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    table = {}
    for content in (b"detector", b"network"):
        name = f"{content.decode()}-1.pth.tar"
        (mirror / name).write_bytes(content)
        table[name] = (f"http://127.0.0.1:9/{name}", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(landmarks, "FAN_WEIGHTS", table)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("MIMIK_MIRROR", raising=False)
    return mirror


def test_weights_of_a_mirror_are_put_where_face_alignment_reads_them(weights: Path, tmp_path: Path) -> None:
    folder = fetch_fan_weights(weights)
    assert folder == tmp_path / "torch" / "hub" / "checkpoints"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in weights.iterdir()
    }
    assert fetch_fan_weights(None) == folder  # a second time nothing is needed


def test_missing_weights_say_what_to_put_where(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        fetch_fan_weights(None)
    for told in ("detector-", "http://127.0.0.1:9/detector-", str(tmp_path / "torch" / "hub" / "checkpoints")):
        assert told in str(caught.value)


def test_damaged_weights_are_refused(weights: Path) -> None:
    damaged = sorted(weights.iterdir())[0]
    damaged.write_bytes(b"half a download")
    with pytest.raises(UserError, match=damaged.name):
        fetch_fan_weights(weights)


def test_the_files_are_those_that_face_alignment_asks_for() -> None:
    api = pytest.importorskip("face_alignment.api")
    detector = pytest.importorskip("face_alignment.detection.sfd.sfd_detector")
    assert {url for url, _ in FAN_WEIGHTS.values()} == {api.models_urls["2DFAN-4"], detector.models_urls["s3fd"]}
    assert all(url.endswith("/" + name) and sha[:10] in name for name, (url, sha) in FAN_WEIGHTS.items())
