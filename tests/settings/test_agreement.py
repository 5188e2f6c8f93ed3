import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from mimik.errors import UserError
from mimik.settings import agreement, params, stages

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def outside_of_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setattr(agreement, "_held", {})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project as it is shipped, with nothing made."""
    for name in ("dvc.yaml", "params.yaml", "params", "workflow", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".dvc").mkdir()
    return tmp_path


def told(project: Path, monkeypatch: pytest.MonkeyPatch, changed: list[str]) -> list[str]:
    """The stages that DVC is told of by `tell`, where DVC takes these for changed."""
    committed: list[str] = []
    monkeypatch.setattr(agreement, "_status", lambda _: changed)
    monkeypatch.setattr(agreement, "_commit", lambda _, names: committed.extend(names))
    agreement.tell(project)
    return committed


def test_the_first_stage_refuses_while_snakemake_runs_and_until_dvc_was_told(project: Path) -> None:
    agreement.check(project)
    agreement.begin(project)
    with pytest.raises(UserError, match=rf"snakemake is running in this project \(process {os.getpid()}@"):
        agreement.check(project)
    agreement._held.popitem()[1].release()  # as when the process has ended, killed or not
    with pytest.raises(UserError, match="Run `mimik dvc`"):
        agreement.check(project)


def test_the_first_stage_refuses_while_snakemake_holds_its_lock(project: Path) -> None:
    locks = project / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    agreement.check(project)
    (locks / "0.output.lock").write_text("data/prepared/synthetic/manifest.json\n")
    with pytest.raises(UserError, match="snakemake --unlock"):
        agreement.check(project)


def test_the_last_of_several_runs_lets_dvc_go_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agreement.begin(project)
    other = project / agreement.MARKS / "1@another"
    (project / agreement.MARKS / "2@killed").touch()
    with FileLock(other):
        assert told(project, monkeypatch, ["settings"]) == []
        assert agreement._marks(project) == [other]
        with pytest.raises(UserError, match="1@another"):
            agreement.check(project)
    assert told(project, monkeypatch, ["settings"]) == ["settings"]
    assert not (project / agreement.MARKS).exists()  # DVC's output is as its stage writes it
    agreement.check(project)


def test_a_mark_stays_where_dvc_fails(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise UserError("no room")

    agreement.begin(project)
    monkeypatch.setattr(agreement, "_status", lambda _: ["settings"])
    monkeypatch.setattr(agreement, "_commit", fails)
    with pytest.raises(UserError, match="no room"):
        agreement.tell(project)
    with pytest.raises(UserError):
        agreement.check(project)


@pytest.mark.parametrize("fault", [UserError("no room"), RuntimeError("a defect"), KeyboardInterrupt()])
def test_a_run_ends_well_whatever_becomes_of_dvc(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: BaseException
) -> None:
    def fails(_: Path) -> str:
        raise fault

    monkeypatch.setattr(agreement, "tell", fails)
    agreement.end(project)
    said = capsys.readouterr().err
    assert "DVC has no record of what this run made" in said
    assert "`mimik dvc`" in said
    assert str(fault) in said


def test_a_run_that_dvc_called_leaves_dvc_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_STAGE", "prepare@synthetic")
    monkeypatch.setattr(agreement, "tell", lambda _: pytest.fail("DVC was called from within DVC"))
    agreement.begin(project)
    agreement.end(project)
    assert not (project / "data").exists()
    assert capsys.readouterr().err == ""


def test_without_a_project_of_dvc_that_is_said(project: Path, tmp_path: Path) -> None:
    (project / ".dvc").rmdir()
    with pytest.raises(UserError, match="`dvc init`"):
        agreement.tell(project)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    agreement.begin(elsewhere)  # a folder of --directory, say
    agreement.end(elsewhere)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    "written", ["{", "[]", '{"write": {"data": {"pid": 999999999, "cmd": "dvc repro"}}}', '{"write": []}']
)
def test_a_record_of_dvc_that_is_stale_or_not_understood_stops_nothing(project: Path, written: str) -> None:
    record = project / ".dvc" / "tmp" / "rwlock"
    record.parent.mkdir()
    record.write_text(written)
    agreement.begin(project)
    assert len(agreement._marks(project)) == 1


def test_a_copy_that_would_fill_the_disk_is_not_begun(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    (project / "big").write_bytes(b"x" * 1000)
    stage = agreement.Stage("train@synthetic-stargan", "big", ("big",))
    monkeypatch.setattr(agreement, "_dvc", lambda *_: str(project / ".dvc" / "cache"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(999))
    with pytest.raises(UserError, match="Free some room"):
        agreement._check_room(project, [stage])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000))
    agreement._check_room(project, [stage])


def test_every_stage_of_dvc_is_known_by_its_name_its_target_and_what_it_makes() -> None:
    values = params.load(ROOT / "params.yaml")
    known = {stage.name: stage for stage in agreement._stages(ROOT, values)}
    table = stages.stage_table(values)
    jobs = {f"{rule}@{key}" for rule, found in table["jobs"].items() for key in found}
    jobs |= {f"{rule}_restricted@{key}" for rule, found in table["restricted"].items() for key in found}
    assert set(known) == jobs | {"compare"}
    assert known["prepare@synthetic"].target == "data/prepared/synthetic/manifest.json"
    assert known["prepare@synthetic"].outs == ("data/prepared/synthetic",)
    assert known["evaluate@synthetic-stargan"].outs == (
        "results/synthetic/stargan/metrics.json",
        "results/synthetic/stargan/per_face.safetensors",
        "results/synthetic/stargan/scores.json",
        "results/synthetic/stargan/by_target.csv",
    )
    assert known["compare"].target == "report/index.html"
    written = json.dumps([[stage.target, *stage.outs] for stage in known.values()])
    assert "$" not in written


def test_the_first_stage_is_run_whenever_its_output_has_changed() -> None:
    """Its output is neither deleted nor taken from DVC's cache of runs: only so a mark makes it run, and refuse."""
    written = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"][agreement.FIRST]
    assert written["outs"] == [{"data/settings": {"persist": True}}]
    assert agreement.MARKS.is_relative_to("data/settings")
