"""What Snakemake runs again, and what it says when it cannot run."""

import json
import os
import signal
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.workflow.conftest import Project, wait_for

STARGAN_AND_WHAT_FOLLOWS = {"train": 1, "translate": 1, "evaluate": 1, "report": 1, "compare": 1}
EVERYTHING = {
    "prepare": 1, "segmenter": 1, "classifier": 1, "reader": 1,
    "train": 2, "translate": 2, "evaluate": 2, "report": 2, "compare": 1,
}  # fmt: skip


def test_a_fresh_project_plans_every_job_and_a_made_one_none(fresh: Project, made: Project) -> None:
    assert fresh.planned() == EVERYTHING
    again = made.must("snakemake")
    assert "Nothing to be done" in again.text
    assert again.seconds < 10  # 2 s; the bound of 5 s is measured in benchmarks


def test_one_learning_rate_reruns_one_method(project: Project) -> None:
    project.edit("params.yaml", "learning_rate: 0.001", "learning_rate: 0.002")
    assert project.planned() == STARGAN_AND_WHAT_FOLLOWS
    text = project.must("snakemake", "--cores", "2").text
    assert "Train stargan on synthetic" in text
    assert "hier_seg" not in "".join(line for line in text.splitlines() if line.startswith("Job "))
    assert project.planned() == {}


def test_what_was_imported_is_neither_made_nor_removed(project: Project) -> None:
    result = project.folder / "results/synthetic/stargan"
    segmenter = project.folder / "data/pretrained/synthetic/segmenter/bisenet"
    for folder in (result, segmenter):
        (folder / "config.json").write_text('{"imported": {}}')
    (result / "generator.safetensors").write_text("released")
    project.append("src/mimik/training/loop.py", "\n# an edit\n")
    project.append("src/mimik/pretraining/segmenter.py", "\n# an edit\n")
    project.append("src/mimik/faces/prepared/prepare.py", "\n# an edit\n")
    # The faces are prepared again; the one generator is trained anew, and only what is made from the other.
    expected = {**EVERYTHING, "train": 1}
    del expected["segmenter"]
    assert project.planned() == expected
    assert project.planned("--forceall") == expected
    project.must("snakemake", "--cores", "2")
    assert (result / "generator.safetensors").read_text() == "released"
    assert (segmenter / "config.json").read_text() == '{"imported": {}}'
    assert project.planned() == {}
    # Without it, the workflow trains.
    (result / "config.json").unlink()
    assert project.planned() == STARGAN_AND_WHAT_FOLLOWS


def test_masks_by_a_segmenter_wait_for_it_and_are_made_again_when_it_changes(fresh: Project, tmp_path: Path) -> None:
    project = fresh.copy(tmp_path / "project")
    entry = "dataset: synthetic, scale: demo, classes: [neutral, happiness], sizes: [64], masks: segmenter"
    more = f"  faces: {{{entry}, masks_from: synthetic/bisenet, masks_confidence: 0.5}}\n"
    project.edit("params.yaml", "datasets:\n", f"datasets:\n{more}")
    target = "data/prepared/faces/manifest.json"
    assert project.planned(target) == {"prepare": 2, "segmenter": 1}
    project.must("snakemake", "--cores", "2", target)
    manifest = json.loads((project.folder / target).read_text(encoding="utf-8"))
    assert manifest["masks"] == ["data/pretrained/synthetic/segmenter/bisenet", 0.5]
    assert "masks" not in json.loads((project.folder / "data/prepared/synthetic/manifest.json").read_text())["options"]
    assert project.planned(target) == {}
    project.append("src/mimik/pretraining/segmenter.py", "\n# an edit\n")
    assert project.planned(target) == {"prepare": 1, "segmenter": 1}


def test_a_segmenter_of_another_dataset_is_trained_and_measured_there(fresh: Project, tmp_path: Path) -> None:
    project = fresh.copy(tmp_path / "project")
    entry = "{dataset: synthetic, scale: demo, classes: [neutral, happiness], sizes: [64]}"
    project.edit("params.yaml", "datasets:\n", f"datasets:\n  faces: {entry}\n")
    project.edit("params.yaml", "segmenter: bisenet}\n", "segmenter: synthetic/bisenet}\n")
    target = "results/faces/hier_seg/report.html"
    rules = ("train", "translate", "evaluate", "report")
    assert project.planned(target) == {"prepare": 2, "segmenter": 1, "classifier": 1, **dict.fromkeys(rules, 1)}
    project.must("snakemake", "--cores", "2", target)
    assert not (project.folder / "data/pretrained/faces/segmenter").exists()
    other = (project.folder / "data/prepared/synthetic/manifest.json").read_text(encoding="utf-8")
    trained = (project.folder / "results/faces/hier_seg/generator.safetensors").read_text(encoding="utf-8")
    assert json.loads(trained)[2][1] == other
    translated = (project.folder / "results/faces/hier_seg/translations/manifest.json").read_text(encoding="utf-8")
    assert translated.endswith(other)
    measured = (project.folder / "results/faces/hier_seg/metrics.json").read_text(encoding="utf-8")
    assert json.loads(measured)[-1] == other
    assert project.planned(target) == {}
    project.append("src/mimik/pretraining/segmenter.py", "\n# an edit\n")
    assert project.planned(target) == {"segmenter": 1, **dict.fromkeys(rules, 1)}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("methods/stargan.py", STARGAN_AND_WHAT_FOLLOWS),
        ("training/loop.py", {"train": 2, "translate": 2, "evaluate": 2, "report": 2, "compare": 1}),
        ("pretraining/classifier.py", {"classifier": 1, "evaluate": 2, "report": 2, "compare": 1}),
        ("evaluation/metrics/eea.py", {"evaluate": 2, "report": 2, "compare": 1}),
        ("reporting/templates/page.html.j2", {"report": 2, "compare": 1}),
        ("faces/prepared/prepare.py", EVERYTHING),
        ("tracking/runs.py", {}),
        ("console.py", {}),
    ],
)
def test_an_edit_reruns_exactly_what_depends_on_it(project: Project, file: str, expected: dict[str, int]) -> None:
    project.append(f"src/mimik/{file}", "\n# an edit\n")
    assert project.planned() == expected


def test_a_touched_file_reruns_nothing(project: Project) -> None:
    for file in (project.folder / "src" / "mimik").rglob("*.py"):
        file.touch()
    assert project.planned() == {}


def test_a_method_is_first_trained_on_the_dataset_it_starts_from(fresh: Project, tmp_path: Path) -> None:
    project = fresh.copy(tmp_path / "project")
    entry = "{dataset: synthetic, scale: demo, classes: [neutral, happiness], sizes: [64]}"
    project.edit("params.yaml", "datasets:\n", f"datasets:\n  faces: {entry}\n")
    more = "  stargan_from_rendered: {method: stargan, starts_from: synthetic/stargan}\n"
    project.edit("params.yaml", "\nmethods:\n", f"\nmethods:\n{more}")
    target = "results/faces/stargan_from_rendered/metrics.json"
    assert project.planned(target) == {"prepare": 2, "classifier": 1, "train": 2, "translate": 1, "evaluate": 1}
    text = project.must("snakemake", "--cores", "2", target).text
    assert 0 < text.index("Train stargan on synthetic") < text.index("Train stargan_from_rendered on faces")
    first, second = (
        (project.folder / "results" / name / "generator.safetensors").read_text(encoding="utf-8")
        for name in ("synthetic/stargan", "faces/stargan_from_rendered")
    )
    assert json.loads(second)[2] == [first] and json.loads(second)[0]["starts_from"] == "synthetic/stargan"
    assert (project.folder / "results/faces/stargan_from_rendered/critic.safetensors").is_file()
    assert project.planned(target) == {}
    project.edit("params.yaml", "learning_rate: 0.001", "learning_rate: 0.002")
    assert project.planned(target) == {"train": 2, "translate": 1, "evaluate": 1}


def test_a_validated_training_waits_for_the_classifier_that_judges_it(project: Project) -> None:
    project.edit("params.yaml", "learning_rate: 0.001", "learning_rate: 0.001, validate_every: 1")
    assert project.planned() == STARGAN_AND_WHAT_FOLLOWS
    trained = "results/synthetic/stargan/generator.safetensors"
    project.must("snakemake", "--cores", "2", "--no-hooks", "--", trained)
    model = project.folder / "data/pretrained/synthetic/classifier/small/model.safetensors"
    assert model.read_text() in json.loads((project.folder / trained).read_text())[2]
    assert project.planned("--", trained) == {}
    project.append("src/mimik/evaluation/validation.py", "\n# an edit\n")
    assert project.planned() == STARGAN_AND_WHAT_FOLLOWS


def test_a_guided_method_waits_for_its_depth_network(project: Project) -> None:
    guided = "stargan: {method: stargan, depth_network: depth, guidance: {depth: {}}, "
    project.edit("params.yaml", "stargan: {method: stargan, ", guided)
    everything = {"depth_network": 1, **STARGAN_AND_WHAT_FOLLOWS}
    assert project.planned() == everything
    project.must("snakemake", "--cores", "2", "--no-hooks", "--", "results/synthetic/stargan/generator.safetensors")
    model = project.folder / "data/pretrained/synthetic/depth_network/depth/model.safetensors"
    assert json.loads(model.read_text())[1]["name"] == "depth"
    project.append("src/mimik/guidance/depth.py", "\n# an edit\n")
    assert project.planned() == STARGAN_AND_WHAT_FOLLOWS
    project.append("src/mimik/pretraining/depth_network.py", "\n# an edit\n")
    assert project.planned() == everything


@pytest.fixture(scope="module")
def with_guests(made: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The made project with modules of another package, made again. Not to be changed."""
    project = made.copy(tmp_path_factory.mktemp("guests") / "project")
    project.invite()
    project.must("snakemake", "--cores", "8")
    assert project.planned() == {}
    return project


GUEST_AND_WHAT_FOLLOWS = {"train": 1, "translate": 1, "evaluate": 1, "report": 1, "compare": 1}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("shared.py", {"prepare": 1, "classifier": 1, **GUEST_AND_WHAT_FOLLOWS}),
        ("method.py", GUEST_AND_WHAT_FOLLOWS),
        ("guide.py", GUEST_AND_WHAT_FOLLOWS),
        ("metric.py", {"evaluate": 3, "report": 3, "compare": 1}),
        ("table.py", {"report": 3, "compare": 1}),
        ("unused.py", {}),
    ],
)
def test_an_edit_of_another_package_reruns_what_depends_on_it(
    with_guests: Project, tmp_path: Path, file: str, expected: dict[str, int]
) -> None:
    project = with_guests.copy(tmp_path / "project")
    project.append(f"guests/{file}", "\n# an edit\n")
    assert project.planned() == expected


def test_a_broken_dataset_of_another_package_is_told_before_any_work(fresh: Project, tmp_path: Path) -> None:
    project = fresh.copy(tmp_path / "project")
    project.invite()
    target = "data/prepared/faces/manifest.json"
    project.edit("guests/dataset.py", "LICENCE = ", "")
    done = project.run("snakemake", "--cores", "2", "--", target)
    assert done.status == 2
    assert "guests.dataset" in done.text and "lacks `LICENCE`, a text" in done.text
    project.append("guests/dataset.py", "import nothing_like_it\n")
    done = project.run("snakemake", "--cores", "2", "--", target)
    assert done.status == 2
    assert "guests/dataset.py, line 7: ModuleNotFoundError" in done.text
    project.edit("params.yaml", "dataset: guests.dataset", "dataset: guests.nothing")
    done = project.run("snakemake", "--cores", "2", "--", target)
    assert done.status == 2
    assert "datasets.faces.dataset: there is no module 'guests.nothing'" in done.text
    assert "Traceback" not in done.text


def test_another_scale_is_made_by_one_flag(project: Project) -> None:
    planned = project.planned("--config", "scale=smoke")
    assert planned["train"] == 2
    assert "prepare" not in planned  # its options are the same at both scales here


def test_further_trainings_leave_the_first_as_they_are(project: Project) -> None:
    # Those of `replicates`, which the comparison reads, and one that is named; nothing that is trained before.
    named = ("report/index.html", "results/synthetic/stargan@3/metrics.json")
    planned = project.planned(*named, "--config", "replicates=2")
    assert planned == {"train": 3, "translate": 3, "evaluate": 3, "compare": 1}


@pytest.mark.parametrize("arguments", [["--cores", "8"], ["--cores", "1", "--config", "scale=smoke"], ["--dry-run"]])
def test_a_missing_archive_is_told_once_and_before_any_work(fresh: Project, arguments: list[str]) -> None:
    done = fresh.run("snakemake", *arguments, "--", "results/affectnet/hier_seg/metrics.json")
    assert done.status == 2
    assert done.text.count("the archive is not here. Ask its authors") == 1
    assert "Traceback" not in done.text
    assert "Exception" not in done.text
    assert not (fresh.folder / "logs").exists()


def test_entries_of_one_module_share_its_archive(fresh: Project, tmp_path: Path) -> None:
    project = fresh.copy(tmp_path / "project")
    entry = "  few: {dataset: affectnet, scale: demo, classes: [neutral, happiness], sizes: [64]}\n"
    project.edit("params.yaml", "segmenters:\n", f"{entry}segmenters:\n")
    done = project.run("snakemake", "--cores", "2", "--", "data/prepared/few/manifest.json")
    assert done.status == 2
    assert "data/raw/affectnet: the archive is not here" in done.text
    project.edit("src/mimik/datasets/affectnet.py", "    raise", "    return\n    raise")
    project.must("snakemake", "--cores", "2", "--", "data/prepared/few/manifest.json")
    manifest = json.loads((project.folder / "data/prepared/few/manifest.json").read_text())
    assert (manifest["raw"], manifest["options"]["name"]) == ("data/raw/affectnet", "few")


def test_files_of_the_reconstruction_are_missed_before_any_work(fresh: Project, tmp_path: Path) -> None:
    project = fresh.copy(tmp_path / "project")
    entry = "  dense: {dataset: synthetic, scale: demo, classes: [neutral, happiness], sizes: [64]"
    project.edit("params.yaml", "segmenters:\n", f"{entry}, reconstruction: 3ddfa_v2}}\nsegmenters:\n")
    command = ("snakemake", "--cores", "2", "--", "data/prepared/dense/manifest.json")
    done = project.run(*command)
    assert done.status == 2
    assert done.text.count("data/weights/network: not found") == 1
    assert not (project.folder / "logs").exists()
    weights = project.folder / "data" / "weights"
    weights.mkdir(parents=True)
    for name in ("network", "basis"):
        (weights / name).write_text("first")
    project.must(*command)
    (weights / "basis").unlink()
    assert project.planned("data/prepared/dense/manifest.json") == {}  # what is prepared needs them no more


def test_prepared_faces_need_no_archive_any_more(project: Project) -> None:
    prepared = project.folder / "data" / "prepared"
    (prepared / "synthetic").rename(prepared / "affectnet")
    done = project.run("snakemake", "--dry-run", "--", "data/prepared/affectnet/manifest.json")
    assert "the archive is not here" not in done.text


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("scale: demo, ground", "scale: dmeo, ground", "datasets.synthetic.scale: 'dmeo' is not under 'scales'"),
        ("learning_rate: 0.001", "learning_rate: 1e-3", "write 1.0e-4"),
        ("sizes: [64]", "sizes: [32]", "Add 64 to the sizes"),
        ("method: hier_seg}\nsystems", "method: hier_sge}\nsystems", "Known: hier_seg, stargan"),
    ],
)
def test_a_wrong_setting_is_told_before_any_work(fresh: Project, tmp_path: Path, old: str, new: str, told: str) -> None:
    project = fresh.copy(tmp_path / "project")
    project.edit("params.yaml", old, new)
    done = project.run("snakemake", "--cores", "2")
    assert done.status == 2
    assert told in done.text
    assert "Traceback" not in done.text


def test_a_project_runs_from_a_folder_of_any_usual_name(fresh: Project, tmp_path: Path) -> None:
    """With its virtual environment inside, as `make` sets it up: Snakemake puts that Python into a command line."""
    name = "My Projects/it's $HOME & `id`; (x) #1*"
    (tmp_path / name).parent.mkdir()
    project = fresh.copy(tmp_path / name)
    project.must(sys.executable, "-m", "venv", "--without-pip", ".venv")
    (packages,) = (project.folder / ".venv/lib").glob("*/site-packages")
    (packages / "those of the tests.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    own = str(project.folder / ".venv/bin/python")
    project.must(own, "-m", "snakemake", "--cores", "2", "--", "data/prepared/synthetic/manifest.json")
    assert (project.folder / "data/prepared/synthetic/manifest.json").is_file()


def test_a_folder_in_which_no_job_can_run_is_told_before_any(fresh: Project, tmp_path: Path) -> None:
    project = fresh.copy(tmp_path / "{x} y")
    done = project.run("snakemake", "--cores", "2")
    assert done.status == 2
    assert done.text.count("The path of the project") == 1
    assert "braces" in done.text
    assert "Error" not in done.text
    assert not (project.folder / "logs").exists()


def test_a_name_that_params_does_not_have_is_no_target(fresh: Project) -> None:
    done = fresh.run("snakemake", "--dry-run", "--", "results/synthetic/stragan/metrics.json")
    assert done.status != 0
    assert "No rule to produce results/synthetic/stragan/metrics.json" in done.text


def test_a_fault_within_a_job_is_told_on_the_screen_and_in_its_log(project: Project) -> None:
    project.edit(
        "src/mimik/training/runs.py", "    store = Path", "    raise UserError('the disk is full')\n    store = Path"
    )
    project.edit("src/mimik/training/runs.py", "import json\n", "import json\n\nfrom mimik.errors import UserError\n")
    done = project.run("snakemake", "--cores", "1")
    assert done.status != 0
    assert "mimik: the disk is full" in done.text
    logs = [log.read_text() for log in (project.folder / "logs/train").glob("*.log")]
    assert any("mimik: the disk is full" in log for log in logs)
    assert "method_training.py" not in done.text.partition("mimik: the disk is full")[0].partition("Traceback")[2]


def test_a_killed_snakemake_goes_on_with_the_same_command(project: Project) -> None:
    project.edit(
        "src/mimik/training/runs.py",
        "    for name in (",
        "    import os, time\n    Path('started').write_text(str(os.getpid()))\n    time.sleep(5)\n    for name in (",
    )
    with project.running("snakemake", "--cores", "1"):
        started = project.folder / "started"
        wait_for(started)
    os.kill(int(started.read_text()), signal.SIGKILL)  # the trainer, that a killed Snakemake leaves behind
    project.edit("src/mimik/training/runs.py", "    time.sleep(5)\n", "")
    assert "--unlock" in project.run("snakemake", "--cores", "1").text  # Snakemake's own guard against two at once
    project.must("snakemake", "--unlock")
    project.must("snakemake", "--cores", "1")
    assert project.planned() == {}
