"""Files of every kind a folder of photographs holds, sound and broken."""

import os
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimik.datasets.photographs import file_fault, image_mode
from mimik.faces.photograph import read_layers, read_photograph
from mimik.storage.pictures import UnreadableError, decode, read_content

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_rgb_is_kept(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    assert np.array_equal(read_photograph(tmp_path / "a.png"), COLOURS)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "YCbCr", "LA", "RGBA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    flat = Image.new("RGB", (30, 20), (200, 200, 200)).convert(mode)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr") else "a.png")
    flat.save(path)
    found = read_photograph(path)
    assert found.shape == (20, 30, 3)
    assert found.dtype == np.uint8
    assert abs(int(np.median(found)) - (255 if mode == "1" else 200)) <= 5  # the palette has steps


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    values = np.array([[0, 257, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert read_photograph(tmp_path / "a.png")[0, :, 0].tolist() == [0, 1, 255]


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(tmp_path / "a.png")
    assert (read_photograph(tmp_path / "a.png") == 255).all()


def test_camera_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    Image.fromarray(COLOURS).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_photograph(tmp_path / "a.png"), np.rot90(COLOURS, -1))


def test_grey_is_luminance(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    found = read_photograph(tmp_path / "a.png", grey=True)
    assert np.abs(found - (COLOURS @ np.array([0.299, 0.587, 0.114]))[..., None]).max() <= 1


def broken(path: Path, kind: str) -> None:
    Image.fromarray(COLOURS).save(path, format="JPEG")
    content = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "no image":
        path.write_text("<html>not found</html>")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "missing":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "broken png":
        Image.fromarray(COLOURS).save(path, format="PNG")
        content = bytearray(path.read_bytes())
        content[60:80] = bytes(20)
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("truncated", "(?i)truncated"),
        ("no image", "cannot identify"),
        ("empty", "empty"),
        ("missing", "no such file"),
        ("folder", "cannot be decoded"),
        ("broken png", "cannot be decoded"),
    ],
)
def test_broken_files_say_what_is_wrong(tmp_path: Path, kind: str, reason: str) -> None:
    path = tmp_path / "photo.jpg"
    broken(path, kind)
    with pytest.raises(UnreadableError, match=reason) as caught:
        read_photograph(path)
    assert str(tmp_path) not in str(caught.value)


def test_huge_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimik.storage.pictures.LARGEST", 599)
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    with pytest.raises(UnreadableError, match="30 x 20"):
        read_photograph(tmp_path / "a.png")
    assert "30 x 20" in str(file_fault(tmp_path / "a.png"))  # `mimik data check` says it, too


def test_pillow_says_nothing_of_damaged_files(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.tif")
    content = (tmp_path / "a.tif").read_bytes()
    directory = int.from_bytes(content[4:8], "little")
    torn = content[: directory + 2 + 12 * 3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnreadableError):
            decode(torn)


def many_scans(side: int, further: int) -> bytes:
    """A progressive JPEG the last scan of which is there so many times more."""
    stream = BytesIO()
    Image.new("L", (side, side), 90).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    last, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    return content[:end] + content[last:end] * further + content[end:]


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decode(many_scans(3000, 100)).size == (3000, 3000)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("was decoded"))
    with pytest.raises(UnreadableError, match="takes too long to decode: a JPEG of 3000 x 3000 pixels in 1,50"):
        decode(many_scans(3000, 1500))


@pytest.mark.parametrize("behind", [b"", b"\xff\xda" * 100_000, b"\xff\xd8\xff\xda\0\2"])
def test_what_follows_the_picture_in_a_jpeg_does_not_count(tmp_path: Path, behind: bytes) -> None:
    """Telephones append a video or a second picture."""
    Image.fromarray(COLOURS).save(tmp_path / "a.jpg", quality=95)
    content = (tmp_path / "a.jpg").read_bytes()
    assert np.array_equal(read_photograph(tmp_path / "a.jpg", content=content + behind), decode(content))


def test_colours_are_kept_apart_from_transparency(tmp_path: Path) -> None:
    alpha = RANDOM.integers(0, 256, (20, 30), dtype=np.uint8)
    Image.fromarray(np.dstack([COLOURS, alpha])).save(tmp_path / "a.png")
    found = read_layers(tmp_path / "a.png")
    assert found.alpha is not None
    assert np.array_equal(found.colours, COLOURS) and np.array_equal(found.alpha, alpha)
    wanted = 255 + alpha[..., None] / 255 * (COLOURS.astype(float) - 255)
    assert np.abs(found.seen - wanted).max() <= 1
    Image.fromarray(COLOURS).save(tmp_path / "b.png", transparency=tuple(COLOURS[3, 4].tolist()))
    keyed = read_layers(tmp_path / "b.png")
    assert keyed.alpha is not None and keyed.alpha[3, 4] == 0 and keyed.alpha.mean() > 250


def test_sixteen_bits_with_a_transparent_value(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257, 65535]], np.uint16)).save(tmp_path / "a.png", transparency=257)
    found = read_layers(tmp_path / "a.png")
    assert found.alpha is not None and found.alpha.tolist() == [[255, 0, 255]]
    assert found.seen[0, :, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize("mode", ["RGB", "I;16", "RGBA", "P"])
def test_large_pictures_are_converted_in_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    random = np.random.default_rng(1)
    if mode == "I;16":
        Image.fromarray(random.integers(0, 65536, (50, 30)).astype(np.uint16)).save(tmp_path / "a.png")
    else:
        Image.fromarray(random.integers(0, 256, (50, 30, 4), dtype=np.uint8)).convert(mode).save(tmp_path / "a.png")
    whole = [read_photograph(tmp_path / "a.png", grey=grey) for grey in (False, True)]
    monkeypatch.setattr("mimik.faces.photograph.BAND", 200)
    for grey, expected in zip((False, True), whole, strict=True):
        assert np.array_equal(read_photograph(tmp_path / "a.png", grey=grey), expected)


@pytest.mark.parametrize("size", [(20_000, 4), (4, 20_000), (1, 1)])
def test_odd_proportions_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size).save(tmp_path / "a.png")
    assert read_photograph(tmp_path / "a.png").shape == (size[1], size[0], 3)


def test_pictures_longer_than_any_are_refused(tmp_path: Path) -> None:
    Image.new("1", (70_000, 2)).save(tmp_path / "a.png")
    with pytest.raises(UnreadableError, match="70000 x 2"):
        read_photograph(tmp_path / "a.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(UnreadableError, match="pipe"):
        read_content(tmp_path / "a.jpg")
    assert image_mode(tmp_path / "a.jpg") is None
    assert file_fault(tmp_path / "a.jpg") is not None


@pytest.mark.parametrize(
    ("kind", "part"),
    [("JPEG", b"\xff\xe1\0\x10Exif\0\0MM\0*\0\0\0\0"), ("PNG", b"\0\0\0\0abCd" + bytes(4)), ("GIF", b"!\xfe\1a\0")],
)
def test_files_of_very_many_parts_are_refused(monkeypatch: pytest.MonkeyPatch, kind: str, part: bytes) -> None:
    stream = BytesIO()
    Image.fromarray(COLOURS).save(stream, kind)
    content = stream.getvalue()
    start = {"JPEG": 2, "PNG": 33}.get(kind) or 13 + (3 << (content[10] & 7) + 1)
    if kind != "PNG":  # whose sums of these parts are wrong
        assert decode(content[:start] + part * 3 + content[start:]).size == (30, 20)
    monkeypatch.setattr("PIL.Image.open", lambda *_, **__: pytest.fail("was given to Pillow"))
    with pytest.raises(UnreadableError, match="takes too long to decode: more than 100,000 parts"):
        decode(content[:start] + part * 100_001 + content[start:])
