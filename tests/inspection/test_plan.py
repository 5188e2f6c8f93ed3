"""What a table needs: experiments, missing data and weights, operations and hours."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from mimik.errors import UserError
from mimik.inspection import plan
from mimik.settings.params import Experiment, load
from tests.tiny import make_store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The shipped settings at scale smoke, in an empty project."""
    values = {**copy.deepcopy(load(ROOT / "params.yaml")), "scale": "smoke"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIMIK_MIRROR", raising=False)
    return values


def test_an_item_is_a_table_an_experiment_or_those_of_params(params: dict[str, Any]) -> None:
    assert plan.experiments(params, "synthetic/hier_seg") == [Experiment("synthetic", "hier_seg")]
    assert plan.experiments(params, "experiments") == [
        Experiment("synthetic", "stargan"),
        Experiment("synthetic", "hier_seg"),
    ]
    assert [pair.method for pair in plan.experiments(params, "hier_seg/table3")] == [
        "hier_seg",
        "hier_seg_no_mouth",
        "hier_seg_no_nose",
        "hier_seg_no_eyes",
    ]
    on = {**params, "dataset": "synthetic"}
    assert plan.experiments(on, "hier_seg/fig3a") == [
        Experiment("synthetic", "stargan"),
        Experiment("synthetic", "hier_seg"),
    ]
    assert Experiment("synthetic", "ef_gan_no_attention") in plan.experiments(on, "papers")
    with pytest.raises(UserError, match=r"'hier_seg/table5' is not in params\.yaml under 'published'"):
        plan.experiments(params, "hier_seg/table5")


def test_jobs_come_with_what_they_start_from_and_say_what_is_done(
    params: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "run_operations", lambda *_: 7)  # counting takes seconds, and has tests of its own
    params["experiments"] = [{"dataset": "rafd90_basic", "method": "cascade_ef_gan"}]
    names = [(job.rule, job.name) for job in plan.jobs(params)]
    assert ("train", "rafd90_basic/ef_gan") in names and ("train", "rafd90_basic/cascade_ef_gan") in names
    assert ("translate", "rafd90_basic/ef_gan") not in names
    assert ("classifier", "rafd90_basic/small") in names
    assert not any(job.done for job in plan.jobs(params))
    done = tmp_path / "results" / "rafd90_basic" / "ef_gan" / "generator.safetensors"
    done.parent.mkdir(parents=True)
    done.touch()
    assert [job.name for job in plan.jobs(params) if job.done] == ["rafd90_basic/ef_gan"]


def test_a_plan_names_what_is_missing_and_adds_up_hours(
    params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter(range(10**13, 10**15, 10**13))
    monkeypatch.setattr(plan, "run_operations", lambda *_: next(counts))
    lines = list(plan.plan(params, "hier_seg/table1", "h100", rate=1e-6))
    text = "\n".join(lines)
    assert "hier_seg/table1: 10 experiments, protocol published." in lines
    assert "  affectnet/hier_seg (scale smoke, 64 px)" in lines
    assert "Missing:" in lines and "  affectnet: data/raw/affectnet: AffectNet was not found." in text
    assert "pt_inception-2015-12-05-6726825d.pth" in text and "model_ir_se50.pth" in text
    hours = [float(found.replace(",", "")) for found in re.findall(r"PFLOP +([\d,.]+) h", text)]
    (total,) = re.findall(r"without what is done: ([\d,.]+) h", text)
    assert hours and float(total.replace(",", "")) == pytest.approx(sum(hours), abs=0.06 * len(hours))
    assert "estimate" not in text
    # At 256 and 64 px: image 3, mask 1, depth 1 and normals 3 bytes a pixel, and landmarks; 8 targets, there and back.
    assert re.search(r"prepare +affectnet +0\.558 MB a face; 0\.2 GB for 304 training faces; twice that", text)
    assert re.search(r"translate +affectnet/hier_seg +[\d.]+ GB for at most \d+ test faces, 8 targets", text), text
    faster = "\n".join(plan.plan(params, "synthetic/stargan", "a100"))
    assert "100 TFLOP/s" not in faster and "32 TFLOP/s" in faster and "estimate" in faster
    with pytest.raises(UserError, match="'gtx1080' is not a card that mimik knows"):
        list(plan.plan(params, "synthetic/stargan", "gtx1080"))


@pytest.mark.parametrize(
    ("dataset", "faces"),
    [
        ("affectnet", 86_618),
        ("affectnet200k", 200_000),
        ("affectnet_d", 82_751),
        ("rafd", None),
        ("rafd90", 1_368),
        ("rafd90_basic", 1_197),
        ("rafd3", 4_104),
        ("cfee", 1_288),
        ("celeba", 182_000),
        ("celeba_hq", 28_000),
        ("celebamask_hq", 24_183),
        ("open_faces", None),
    ],
)
def test_training_faces_are_expected_before_a_dataset_is_there(
    params: dict[str, Any], dataset: str, faces: int | None
) -> None:
    assert plan._faces({**params, "scale": "paper"}, dataset) == faces


def test_the_room_that_translations_take_follows_the_prepared_faces_and_the_settings(
    params: dict[str, Any], tmp_path: Path
) -> None:
    pair = Experiment("synthetic", "stargan")
    params["scale"] = "demo"

    def lines() -> str:
        return "\n".join(plan._room({**params, "experiments": [pair._asdict()]}, [pair]))

    assert re.search(r"translate +synthetic/stargan +0\.2 GB for every 1,000 test faces, 8 targets", lines())
    assert "Memory of the computer, measured (docs/scale.md): preparing 0.6 GB with two workers" in lines()
    params["translation"]["limit"], params["translation"]["cycle"] = 10_000, False
    assert re.search(r"translate +synthetic/stargan +1\.0 GB for at most 10,000 test faces, 8 targets", lines())
    make_store(tmp_path / "data" / "prepared" / "synthetic", count=48)
    (tmp_path / "data" / "prepared" / "synthetic" / "manifest.json").unlink()
    tested = plan._split("synthetic", "test")
    assert tested and f"0.0 GB for {tested} test faces" in lines()


@pytest.mark.slow
def test_lengths_in_epochs_follow_the_prepared_faces(params: dict[str, Any], tmp_path: Path) -> None:
    params["methods"]["ef_gan"]["scales"] = {"smoke": {"training": {"epochs": 1000, "steps": 1}}}
    params["experiments"] = [{"dataset": "folder", "method": "ef_gan"}]

    def operations() -> int | None:
        (job,) = [job for job in plan.jobs(params) if job.rule == "train"]
        return job.operations

    assert operations() is None
    make_store(tmp_path / "data" / "prepared" / "folder", count=48)
    once = operations()
    make_store(tmp_path / "data" / "prepared" / "folder", count=80)
    twice = operations()
    assert once and twice == 2 * once
