"""What `mimik data describe` says of a store of photographs and of a rendered one."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from mimik import cli
from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.inspection.description import describe
from mimik.settings.reading import read
from mimik.storage.files import file_sha256, read_json, write_json
from tests.tiny import make_described_store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with the shipped params.yaml, and the dataset `folder` prepared."""
    make_described_store(tmp_path)
    for name in ("params.yaml", "params", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_everything_that_the_manifest_and_the_tables_hold_is_told(tmp_path: Path) -> None:
    store, raw = make_described_store(tmp_path)
    shutil.rmtree(raw)  # nothing of the archive is read
    lines = list(describe(store))
    text = "\n".join(lines)
    assert lines[:5] == [
        "folder",
        "  source   photographs, by importer folder of mimik 0.1.0, layout: one folder for each class",
        "  found    48 of 50 photographs; missing: f048.png, f049.png",
        f"  code     sha256 of all code that is run {'c' * 64}; images by pillow 11.1.0",
        f"  files    48 photographs, 1.2 MB, sha256 of each in index.csv, of the list {'d' * 64}",
    ]
    assert "sizes 16 px, digest tiny-0" in text
    assert f"sha256 {'a' * 64}" in text
    assert "  marks    landmarks: mediapipe; masks: mesh" in lines
    assert "  units    action units: geometric 7" in lines
    assert "  made by  mediapipe 0.10.21; alignment template five-points-1" in lines
    assert "  aligned  96.0% of the listed images" in lines
    assert "  options  (seed 5)" in lines
    assert [line.strip() for line in lines if line.startswith("    ")].count("grey: false") == 1
    assert "  note     A note." in lines
    assert "  left out 2" in lines
    assert "          1  landmarks: no face found (wall.png)" in lines
    assert lines[-4:-2] == ["  licence  Only for you.", "  cite     Nobody 2020."]
    assert lines[-2] == "  push     no: `dvc push` does not upload what is made from this dataset"
    assert "must not be passed on" in lines[-1]


def counts(lines: list[str]) -> dict[str, list[str]]:
    start = lines.index("  faces    48") + 2
    stop = next(number for number, line in enumerate(lines) if line.startswith("  left out"))
    return {" ".join(line.split()[:-4]): line.split()[-4:] for line in lines[start:stop]}


def test_faces_are_counted_by_class_and_split_with_persons(tmp_path: Path) -> None:
    store, _ = make_described_store(tmp_path)
    told = counts(list(describe(store)))
    for name, label in (("neutral", "neutral"), ("(no label)", "")):
        own = store.table[store.table["expression"] == label]["split"]
        assert told[name] == [str((own == split).sum()) for split in ("train", "val", "test")] + [str(len(own))]
    assert told["all classes"] == ["32", "8", "8", "48"]
    assert told["persons"] == ["8", "2", "2", "12"]


def test_attributes_are_counted(tmp_path: Path) -> None:
    store, _ = make_described_store(tmp_path)
    table = store.table.assign(attribute_Young=[int(row < 33) for row in range(48)])
    table.to_csv(store.directory / "index.csv", index=False)
    lines = list(describe(FaceStore(store.directory, 16)))
    assert next(line.split() for line in lines if "Young" in line) == ["Young", "32", "1", "0", "33"]


def test_rendered_faces_have_no_terms_and_an_old_manifest_is_said_to_be_one(tmp_path: Path) -> None:
    store, _ = make_described_store(tmp_path)
    path = store.directory / "manifest.json"
    manifest = read_json(path) | {"source": "rendered", "packages": [], "aligned_fraction": None}
    del manifest["importer"], manifest["masks"], manifest["action_units"], manifest["files"], manifest["restricted"]
    write_json(path, manifest)
    text = "\n".join(describe(FaceStore(store.directory, 16)))
    assert "must not be passed on" not in text
    assert "an importer that the manifest does not record" in text
    assert "masks: origin not recorded" in text
    assert "action units: origin not recorded" in text


@pytest.mark.parametrize("name", ["quarantine.csv", "masks_16.npy"])
def test_a_store_that_is_not_whole_is_named(tmp_path: Path, name: str) -> None:
    store, _ = make_described_store(tmp_path)
    (store.directory / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: missing"):
        list(describe(store))


def test_describe_leaves_the_prepared_dataset_as_it_was(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared = project / "data" / "prepared" / "folder"
    before = {path.name: file_sha256(path) for path in prepared.iterdir()}
    cli.main(["data", "describe", "folder"])
    assert {path.name: file_sha256(path) for path in prepared.iterdir()} == before
    told = capsys.readouterr().out
    for name in ("classes", "annotations", "accepted", "rejected"):
        assert f"  sheet    report/folder/{name}.png" in told
        assert (project / "report" / "folder" / f"{name}.png").exists()
    with pytest.raises(SystemExit) as ended:
        cli.main(["data", "describe", "folder", "--output", str(prepared / "sheets")])
    assert ended.value.code == 2
    assert "which mimik reads" in capsys.readouterr().err


def test_sheets_go_where_no_job_writes() -> None:
    """Both tools delete their outputs before a rerun, and DVC versions all that lies below one."""
    declared = [
        next(iter(out)) if isinstance(out, dict) else out
        for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
        for out in stage.get("do", stage).get("outs", [])
    ]
    for rules in (ROOT / "workflow" / "rules").glob("*.smk"):
        declared += re.findall(r'"(report/[^"]*)"', rules.read_text())
    assert "report/index.html" in declared
    for dataset in read(ROOT / "params.yaml")[0]["datasets"]:
        sheets = Path("report") / dataset
        for out in map(Path, declared):
            assert not sheets.is_relative_to(out)
            assert not out.is_relative_to(sheets)


def test_export_tells_what_has_no_place(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["data", "export", "folder", "--layout", "stargan", "out"])
    assert "out: complete; this layout leaves out the 2 faces without a label" in capsys.readouterr().out
    assert len(list(project.glob("out/*/*/*.png"))) == 46


@pytest.mark.parametrize("command", [["describe", "rafd"], ["export", "rafd", "--layout", "folders", "out"]])
def test_a_dataset_that_is_not_prepared_is_one_message(
    project: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["data", *command])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert "data/prepared/rafd/manifest.json" in message
    assert "`mimik data prepare rafd`" in message
    assert not (project / "out").exists()
