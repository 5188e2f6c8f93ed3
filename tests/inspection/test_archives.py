"""What `mimik data check` says of archives: complete, incomplete, unusable, not fetched yet, not needed."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from mimik import cli
from mimik.datasets import folder
from mimik.datasets.listing import Listing, Total, incomplete
from mimik.errors import UserError
from mimik.inspection import archives
from mimik.settings import params
from mimik.settings.reading import read
from tests.datasets import test_cfee
from tests.datasets.test_affectnet import NpyRelease
from tests.datasets.test_folder import by_folder
from tests.datasets.test_rafd import ADULTS, KID, photo, release
from tests.faces.action_units.test_extractors import openface_csv

ROOT = Path(__file__).parents[2]


def told(module: str, raw: Path, **options: Any) -> list[str]:
    return list(archives.inspect(module, module, raw, options, 0, None))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with the shipped params.yaml and nothing in data/."""
    for name in ("params.yaml", "params", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIMIK_MIRROR", raising=False)
    return tmp_path


def test_found_against_expected_counts_and_reasons(tmp_path: Path) -> None:
    release(tmp_path, (*ADULTS, KID))
    (tmp_path / "Rafd090_01_Caucasian_female_angry_left.jpg").write_bytes(b"")
    for number in range(5):
        photo(tmp_path / f"x{number}.jpg")
    lines = told("rafd", tmp_path)
    text = "\n".join(lines)
    assert lines[0] == "rafd"
    assert [line.split()[0] for line in lines[1:5]] == ["access", "licence", "cite", "layout"]
    assert "  found    719 of 8,040 photographs; missing: Rafd090_01_Caucasian_female_angry_left.jpg" in lines
    assert "  found    6 of 67 models; missing: model 03, model 04, model 05 and 58 more" in lines
    assert "  release  incomplete; what is present can be used" in lines
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("    ") and "(" not in line}
    assert rows["train"] == ["val", "test", "together"]
    for expression in ("neutral", "contempt"):
        assert list(map(int, rows[expression])) == [45, 15, 15, 75]
    assert int(rows["anger"][3]) == 74
    assert sum(map(int, rows["anger"][:3])) == 74
    assert rows["persons"] == ["3", "1", "1", "5"]
    assert rows["all"][-1] == "599"
    assert "  left out 126" in lines
    assert (
        "        120  selection: a child, and `include_kids` is false (Rafd000_65_Kid_female_angry_frontal.jpg, "
        in text
    )
    assert "          5  listing: the name is not Rafd<" in text
    assert "_<gaze> (x0.jpg, x1.jpg, x2.jpg, ...)" in text
    assert "          1  listing: an empty file (Rafd090_01_Caucasian_female_angry_left.jpg)" in lines
    assert lines[-1] == "  usable   yes"


def test_a_complete_release_is_called_so_and_further_reasons_are_counted() -> None:
    rows = pd.DataFrame(
        [(str(n), split, f"{n}.jpg", "happiness", "") for n, split in enumerate(("train", "val", "test"))],
        columns=["id", "split", "source", "expression", "identity"],
    )
    quarantine = [(f"{n}.jpg", "listing", f"reason {n % 14:02d}") for n in range(100, 130)]
    listing = Listing(rows, quarantine, layout="flat", totals=[Total("photographs", 33, 33), Total("notes", 4)])
    lines = list(archives._contents(listing))
    assert lines[:4] == [
        "  layout   flat",
        "  found    33 of 33 photographs",
        "  found    4 notes",
        "  release  complete",
    ]
    assert not any(line.split()[0] == "persons" for line in lines)
    shown = [int(line.split()[0]) for line in lines if "listing: " in line]
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == archives.REASONS
    assert lines[-1].split()[:2] == [str(30 - sum(shown)), "for"]
    assert lines[-1].endswith("for 2 further reasons, each with fewer images")


def test_totals_are_told_with_what_is_missing() -> None:
    assert str(Total("files", 1234)) == "1,234 files"
    assert str(Total("files", 3, 4, ["a"])) == "3 of 4 files; missing: a"
    assert str(Total("files", 1, 6, list("abcde"))) == "1 of 6 files; missing: a, b, c and 2 more"
    listing = Listing(pd.DataFrame(), [], totals=[Total("files", 5, 4), Total("files", 4, 4), Total("files", 1)])
    assert incomplete(listing) == ["not the complete release: 5 of 4 files."]


def test_an_unusable_archive_is_told_after_where_to_get_it(tmp_path: Path) -> None:
    lines = archives.inspect("rafd90", "rafd", tmp_path / "rafd", {}, 0, None)
    assert next(lines) == "rafd90 (a selection of rafd)"
    assert [next(lines).split()[0] for _ in range(3)] == ["access", "licence", "cite"]
    with pytest.raises(UserError, match="no such folder"):
        next(lines)


def test_rendered_faces_need_no_archive(tmp_path: Path) -> None:
    lines = told("synthetic", tmp_path / "nowhere", identities={"train": 2, "val": 1, "test": 1})
    assert "  layout   rendered, no archive" in lines
    assert "  left out 0" in lines
    assert "    persons             2         1         1         4" in lines


def test_an_open_archive_that_is_not_fetched_is_usable(tmp_path: Path) -> None:
    lines = told("open_faces", tmp_path / "open_faces")
    assert "nothing yet" in lines[-2]
    assert lines[-1] == "  usable   yes"


def test_other_modules_tell_their_layout(tmp_path: Path) -> None:
    by_folder(tmp_path / "folder")
    lines = told("folder", tmp_path / "folder")
    assert "  layout   one folder for each class" in lines
    assert not any(line.startswith("  release") for line in lines)
    NpyRelease(tmp_path / "affectnet")
    lines = told("affectnet", tmp_path / "affectnet")
    assert "  layout   the npy release" in lines
    assert "  found    160 of 287,651 training images with an expression" in lines
    assert "  found    24 of 3,999 validation images with an expression" in lines


def test_a_list_of_ones_own_is_told_against_the_files(tmp_path: Path) -> None:
    rows = test_cfee.release(tmp_path)
    (tmp_path / rows[3][0]).unlink()
    lines = told("cfee", test_cfee.write(tmp_path, rows))
    assert f"  found    219 of 220 photographs that manifest.csv lists; missing: {rows[3][0]}" in lines
    assert "  found    219 of 5,060 photographs" in lines
    assert "  found    10 of 230 subjects" in lines
    assert "  found    22 of 22 categories" in lines


def test_openfaces_csv_is_told_against_the_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_folder(tmp_path)
    images = {f"{name}/{number}.png": {} for name in ("smile", "frown") for number in range(20)}
    del images["smile/3.png"]
    images |= {"frown/1.png": {"confidence": 0.1}, "a/stranger.png": {}}
    csv = openface_csv(tmp_path / "units.csv", images)
    options = {"action_units": "openface", "openface_csv": "units.csv"}
    lines = told("folder", tmp_path, **options)
    assert f"  units    38 of 40 images have a usable row in {csv}; 1 names in it belong to no image" in lines
    assert "          1  action units: OpenFace has no row for the image (smile/3.png)" in lines
    assert any("confidence 0.1 is below 0.8 (frown/1.png)" in line for line in lines)
    csv.unlink()
    with pytest.raises(UserError, match=r"units\.csv: no such file"):
        told("folder", tmp_path, **options)
    (tmp_path / "units.csv").write_text("image,confidence\n")
    with pytest.raises(UserError, match="column 'AU01_r'"):
        told("folder", tmp_path, **options)


def test_the_command_counts_an_entrys_own_selection(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = tuple(f"{number:02d}_Caucasian_male" for number in range(18, 34))
    release(project / "data/raw/rafd", people, ("045", "090"))
    cli.main(["data", "check", "rafd90"])
    out = capsys.readouterr().out
    assert out.startswith("rafd90 (a selection of rafd)\n")
    assert "  found    768 of 8,040 photographs" in out
    assert "all classes       144        72       168       384\n" in out
    assert "persons             6         3         7        16\n" in out
    assert "384  selection: angle 045 is not among `angles`" in out
    assert out.endswith("  usable   yes\n")


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


@pytest.mark.parametrize("kind", ["heic named jpg", "heic", "empty", "text", "same bytes, other label"])
def test_a_class_without_one_usable_file_is_not_usable(tmp_path: Path, kind: str) -> None:
    by_folder(tmp_path)
    for number, file in enumerate(sorted((tmp_path / "smile").iterdir())):
        content = {"heic": HEIC, "empty": b"", "text": b"no picture"}.get(kind.split()[0], b"")
        if kind.startswith("same"):
            content = (tmp_path / "frown" / file.name).read_bytes() if number else b""
        file.unlink()
        file.with_suffix({"heic": ".heic"}.get(kind, ".jpg")).write_bytes(content)
    photo(tmp_path / "wink" / "a.jpg")
    for number in range(20):
        picture = Image.new("L", (8, 8), 12 * number)
        picture.save(tmp_path / "wink" / f"{number}.png")
    if kind.startswith("same"):
        (tmp_path / "frown" / "own.png").write_bytes((tmp_path / "wink" / "7.png").read_bytes() + b"x")
    with pytest.raises(UserError, match="none of the 20 images of the class 'smile' can be used: ") as caught:
        told("folder", tmp_path)
    assert "name the other classes in `classes`" in str(caught.value)
    lines = told("folder", tmp_path, classes=["frown", "wink"])
    assert lines[-1] == "  usable   yes"
    with pytest.raises(UserError, match="smile"):
        told("folder", tmp_path, classes=["frown", "smile"])


def test_a_class_that_is_asked_for_and_not_there_is_not_usable(tmp_path: Path) -> None:
    release(tmp_path, ADULTS)
    for file in tmp_path.glob("*_angry_*"):
        file.unlink()
    assert told("rafd", tmp_path)[-1] == "  usable   yes"
    classes = ["neutral", "anger"]
    with pytest.raises(UserError, match=r"no images of the class 'anger' are left .*\(neutral \d+, anger 0\)"):
        told("rafd", tmp_path, classes=classes)
    openface = {"action_units": "openface", "openface_csv": "units.csv", "classes": ["neutral", "sadness"]}
    names = sorted(file.name for file in tmp_path.glob("*_neutral_*"))
    openface_csv(tmp_path / "units.csv", {name: {} for name in names})
    with pytest.raises(UserError, match=r"units\.csv: no images of the class 'sadness' are left"):
        told("rafd", tmp_path, **openface)


def test_access_is_told_once_and_everything_that_is_missing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for entry, module in (("affectnet_d", "affectnet"), ("rafd_d", "rafd"), ("cfee", "cfee"), ("celeba", "celeba")):
        with pytest.raises(SystemExit):
            cli.main(["data", "check", entry])
        captured = capsys.readouterr()
        text = " ".join((captured.out + captured.err).split())
        access = " ".join(import_module(f"mimik.datasets.{module}").ACCESS.split())
        assert text.count(access) == 1, entry
        assert f"data/raw/{module}" in captured.err
        if entry.endswith("_d"):
            assert "access depth maps: They are linked from https://github.com/rumi-b/affectnet-d_rafd-d" in text
            assert f"In addition, data/raw/{module}/depth: no depth map" in text
            assert "non-commercial research only; no redistribution" in text
    with pytest.raises(UserError, match=r"no such folder.*In addition, \S+units\.csv: no such file.*") as caught:
        told("folder", project / "nowhere", action_units="openface", openface_csv="units.csv")
    assert folder.ACCESS not in str(caught.value)
    (project / "empty").mkdir()
    with pytest.raises(UserError, match=r"found none\. See `access` above"):
        told("folder", project / "empty")


@pytest.mark.parametrize("entry", sorted(read(ROOT / "params.yaml")[0]["datasets"]))
def test_every_shipped_dataset_is_checked_without_its_archive(
    entry: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = params.load(project / "params.yaml")
    module = params.dataset_module(values, entry)
    if module in ("synthetic", "open_faces"):
        cli.main(["data", "check", entry, "--scale", "smoke"])
        assert "usable   yes" in capsys.readouterr().out
        return
    with pytest.raises(SystemExit) as ended:
        cli.main(["data", "check", entry])
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert "licence" in captured.out
    assert "usable" not in captured.out
    assert f"data/raw/{module}" in captured.err
