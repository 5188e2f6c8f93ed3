"""The five situations in which DVC and Snakemake have to agree, and what dvc.yaml promises."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import ROOT, Project, wait_for

RATE = ("learning_rate: 0.001", "learning_rate: 0.002")
STARGAN = [f"{rule}@synthetic-stargan" for rule in ("train", "translate", "evaluate", "report")]


@pytest.fixture(scope="session")
def tracked(made: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The made project under git and DVC, with everything pushed to a remote. Not to be changed."""
    folder = tmp_path_factory.mktemp("tracked")
    project = made.copy(folder / "project")
    project.must("git", "init", "--quiet", "--initial-branch=main")
    project.must("dvc", "init", "--quiet")
    project.must("dvc", "remote", "add", "--default", "store", str(folder / "remote"))
    project.must("env", "PYTHONPATH=src", "python", "-m", "mimik.cli", "dvc")
    project.must("git", "add", "--all")
    project.must("git", "commit", "--quiet", "--message", "made")
    project.must("dvc", "push", "--quiet")
    return project


@pytest.fixture
def project(tracked: Project, tmp_path: Path) -> Project:
    """A copy of it, to be changed at will."""
    return tracked.copy(tmp_path / "project")


def trained_with(project: Project) -> float:
    """The learning rate that the generator of stargan was trained with."""
    settings = json.loads((project.folder / "results/synthetic/stargan/generator.safetensors").read_text())[0]
    rate: float = settings["training"]["learning_rate"]
    return rate


def test_nothing_to_do_for_what_snakemake_made(tracked: Project) -> None:
    done = tracked.must("dvc", "repro")
    assert done.stages == []
    assert "up to date" in done.text
    assert done.seconds < 10  # 2 s


def status(project: Project) -> set[str]:
    """The stages that DVC would run."""
    text = project.must("dvc", "status", "--json").text
    return set(json.loads(text[text.index("{") :]))


def files_in(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(file.relative_to(folder)): (file.stat().st_mtime_ns, file.read_bytes())
        for part in ("data/prepared", "data/pretrained", "results")
        for file in (folder / part).rglob("*")
        if file.is_file()
    }


def test_dvc_agrees_at_the_end_of_a_direct_run_of_snakemake(project: Project) -> None:
    project.edit("params.yaml", *RATE)
    done = project.must("snakemake", "--cores", "2")
    assert done.text.count("mimik: DVC is up to date") == 1
    there = files_in(project.folder)
    assert status(project) == set()
    assert project.must("dvc", "repro").stages == []
    project.edit("params.yaml", *reversed(RATE))
    assert "settings" in project.must("dvc", "repro", "--dry").stages
    assert files_in(project.folder) == there
    assert trained_with(project) == 0.002


def test_dvc_is_told_what_was_really_made_from_what_stands_in_the_files_and_no_more(project: Project) -> None:
    known = {f"{rule}@synthetic-stargan" for rule in ("translate", "evaluate", "report")} | {"compare"}
    project.edit("params.yaml", *RATE)
    (project.folder / "results/synthetic/hier_seg/history.csv").write_text("by hand")
    done = project.must("snakemake", "--cores", "2", "--", "results/synthetic/stargan/generator.safetensors")
    # hier_seg's history.csv is none that a run has made, and all that reads it would be made again.
    by_hand = {f"{rule}@synthetic-hier_seg" for rule in ("train", "evaluate", "report")}
    assert status(project) - by_hand == known
    assert "DVC has not recorded" in done.text
    assert "train@synthetic-hier_seg" in done.text
    assert "train@synthetic-stargan" not in done.text
    done = project.must(
        "snakemake", "--cores", "2", "--config", "scale=smoke", "--", "results/synthetic/stargan/history.csv"
    )
    assert "train@synthetic-stargan" in done.text.partition("DVC has not recorded")[2]
    assert "train@synthetic-stargan" in status(project)


def test_dvc_waits_for_snakemake_and_is_told_what_a_killed_run_made(project: Project) -> None:
    project.edit(
        "src/mimik/evaluation/evaluate.py",
        "    read = [",
        "    import os, time\n    Path('started').write_text(str(os.getpid()))\n    time.sleep(300)\n    read = [",
    )
    project.edit("params.yaml", *RATE)
    # Of the other method nothing is asked: its evaluation might else come first.
    with project.running("snakemake", "--cores", "1", "results/synthetic/stargan/metrics.json"):
        started = project.folder / "started"
        wait_for(started)
        there = files_in(project.folder)
        for command in (("dvc", "repro"), ("dvc", "repro", "--force")):
            done = project.run(*command)
            assert done.status != 0
            assert done.text.count("mimik: snakemake is running in this project") == 1
    os.kill(int(started.read_text()), signal.SIGKILL)  # what a killed Snakemake leaves behind
    assert "`snakemake --unlock`, then `mimik dvc`" in project.run("dvc", "repro").text
    project.must("snakemake", "--unlock")
    done = project.run("dvc", "repro")
    assert "Run `mimik dvc`" in done.text
    assert done.stages == ["settings"]
    assert files_in(project.folder) == there

    project.edit("src/mimik/evaluation/evaluate.py", "    time.sleep(300)\n", "")
    project.must("env", "PYTHONPATH=src", "python", "-m", "mimik.cli", "dvc")
    made = {f"{rule}@synthetic-stargan" for rule in ("train", "translate")}
    assert made.isdisjoint(status(project))
    assert "evaluate@synthetic-stargan" in status(project)
    assert trained_with(project) == 0.002


def test_snakemake_waits_for_dvc(project: Project) -> None:
    project.edit("params.yaml", *RATE)
    busy = {"pid": os.getpid(), "cmd": "dvc repro"}
    record = project.folder / ".dvc/tmp/rwlock"
    record.write_text(json.dumps({"write": {str(project.folder / "data/prepared/synthetic"): busy}, "read": {}}))
    there = files_in(project.folder)
    done = project.run("snakemake", "--cores", "2")
    assert done.status == 2
    assert f"mimik: DVC is making results in this project (process {os.getpid()}: dvc repro)" in done.text
    assert "Traceback" not in done.text
    assert files_in(project.folder) == there
    record.unlink()
    assert status(project) == {"settings"}  # no mark is left
    assert not list((project.folder / ".snakemake/locks").glob("*"))


def test_a_run_is_good_where_dvc_could_not_be_told_and_dvc_is_told_later(project: Project) -> None:
    project.edit("params.yaml", *RATE)
    (project.folder / ".git").rename(project.folder / "git")
    done = project.must("snakemake", "--cores", "2")
    assert "mimik: DVC has no record of what this run made: " in done.text
    assert "git repository" in done.text
    assert "Traceback" not in done.text
    (project.folder / "git").rename(project.folder / ".git")
    there = files_in(project.folder)
    assert "Run `mimik dvc`" in project.run("dvc", "repro").text
    project.must("env", "PYTHONPATH=src", "python", "-m", "mimik.cli", "dvc")
    assert project.must("dvc", "repro").stages == []
    assert files_in(project.folder) == there


def test_a_changed_module_reruns_what_depends_on_it(project: Project) -> None:
    read = 'Path(result_dir, "metrics.json").read_text()'
    project.edit("src/mimik/reporting/report.py", f"write_text({read})", f"write_text('edited' + {read})")
    done = project.must("dvc", "repro")
    assert sorted(done.stages) == ["compare", "report@synthetic-hier_seg", "report@synthetic-stargan", "settings"]
    assert "edited" in (project.folder / "results/synthetic/stargan/report.html").read_text()
    assert project.must("dvc", "repro").stages == []
    assert project.planned() == {}


def test_a_changed_parameter_reruns_one_method(project: Project) -> None:
    project.edit("params.yaml", *RATE)
    done = project.must("dvc", "repro")
    assert sorted(done.stages) == sorted(["settings", *STARGAN, "compare"])
    assert trained_with(project) == 0.002
    assert project.planned() == {}
    project.edit("params.yaml", *reversed(RATE))
    assert "train@synthetic-stargan' is cached" in project.must("dvc", "repro").text  # from the cache, not trained
    assert trained_with(project) == 0.001


def test_a_clone_pulls_and_changes(tracked: Project, tmp_path: Path) -> None:
    clone = Project(tmp_path / "clone")
    tracked.must("git", "clone", "--quiet", str(tracked.folder), str(clone.folder))
    assert not (clone.folder / "data").exists()
    assert (clone.folder / "results/synthetic/stargan/metrics.json").exists()
    clone.must("dvc", "pull", "--quiet")
    assert clone.must("dvc", "repro").stages == ["compare"]  # it shows whatever is there, and is never pushed
    clone.edit("params.yaml", *RATE)
    # Through `env`, and so in programs of their own, as a person starts them: the others are forked.
    repro = clone.must("env", "dvc", "repro", "train@synthetic-stargan")
    assert repro.stages == ["settings", "train@synthetic-stargan"]
    assert trained_with(clone) == 0.002


def test_an_experiment_in_a_temporary_folder(project: Project) -> None:
    rate = "methods.stargan.training.learning_rate=0.002"
    project.must("dvc", "exp", "run", "--temp", "--name", "faster", "-S", rate, "train@synthetic-stargan")
    assert trained_with(project) == 0.001
    project.must("dvc", "exp", "apply", "faster")
    assert trained_with(project) == 0.002


def test_files_of_the_folder_params_are_settings_like_others(project: Project) -> None:
    mimik = ("env", "PYTHONPATH=src", "python", "-m", "mimik.cli")
    project.edit("params.yaml", "report: {rows: 2}\n", "")
    (project.folder / "params").mkdir()
    (project.folder / "params/results.yaml").write_text("report: {rows: 2}\n", encoding="utf-8")
    assert "Run `mimik params --stages`" in project.run("dvc", "repro").text  # the folder is new
    project.must(*mimik, "params", "--stages")
    assert project.must("dvc", "repro").stages == ["settings"]  # the same settings from other files
    assert project.planned() == {}
    project.must("git", "add", "--all")
    project.must("git", "commit", "--quiet", "--message", "a file of its own")

    done = project.must("dvc", "exp", "run", "-S", "params/results.yaml:report.rows=3")
    assert sorted(done.stages) == ["compare", "report@synthetic-hier_seg", "report@synthetic-stargan", "settings"]
    assert "rows: 3" in (project.folder / "params/results.yaml").read_text(encoding="utf-8")
    decided = project.folder / "data/settings/report/synthetic-stargan.json"
    assert json.loads(decided.read_text(encoding="utf-8"))["settings"] == {"rows": 3}
    assert status(project) == set()

    (project.folder / "params/mine.yaml").write_text("methods: {mine: {method: stargan}}\n", encoding="utf-8")
    assert status(project) == {"settings"}
    (project.folder / "params/mine.yaml").write_text("seed: 2\n", encoding="utf-8")
    assert "params/mine.yaml: seed is already set in params.yaml" in project.run("dvc", "repro").text


def test_what_is_made_of_a_restricted_dataset_is_not_pushed(project: Project, tmp_path: Path) -> None:
    """With a licensed archive among the experiments. metrics.json is in git; the page of all results stays here."""
    project.edit("src/mimik/datasets/affectnet.py", "    raise UserError", "    assert UserError")
    project.edit("params.yaml", "experiments:\n", "experiments:\n  - {dataset: affectnet, method: hier_seg}\n")
    project.must("env", "PYTHONPATH=src", "python", "-m", "mimik.cli", "params", "--stages")
    made = {
        *("prepare_restricted@affectnet", "evaluate@affectnet-hier_seg"),
        *(f"{rule}_restricted@affectnet-hier_seg" for rule in ("train", "translate", "report")),
    }
    assert made <= status(project)
    assert project.must("dvc", "repro", "prepare_restricted@affectnet").stages[1:] == ["prepare_restricted@affectnet"]
    project.must("snakemake", "--cores", "2")  # makes the rest in fewer programs than DVC
    remote = tmp_path / "other remote"
    project.must("dvc", "remote", "add", "other", str(remote))
    project.must("dvc", "push", "--remote", "other")

    lock = yaml.safe_load((project.folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    pushed: dict[str, bool] = {}
    for stage in lock.values():
        for out in stage["outs"]:
            pushed[out["path"]] = (remote / "files/md5" / out["md5"][:2] / out["md5"][2:]).exists()
    assert {path for path in pushed if "affectnet" in path} > {
        "data/prepared/affectnet",
        "data/pretrained/affectnet/segmenter/bisenet",
        "data/pretrained/affectnet/classifier/small",
        "results/affectnet/hier_seg/generator.safetensors",
        "results/affectnet/hier_seg/samples.png",
        "results/affectnet/hier_seg/translations",
        "results/affectnet/hier_seg/report.html",
    }
    numbers = ("metrics.json", "per_face.safetensors", "scores.json", "by_target.csv")
    kept_here = {path for path, there in pushed.items() if not there and not path.endswith(numbers)}
    made_of_it = {path for path in pushed if "affectnet" in path and not path.endswith(numbers)}
    assert kept_here == {"report/index.html", *made_of_it}
    assert status(project) == set()


def test_an_edit_of_another_package_is_noticed(project: Project) -> None:
    assert "outside" not in project.must("dvc", "stage", "list").text
    project.invite()
    told = {"outside@guests", "settings", "prepare@faces", "train@faces-guest"}
    assert told <= status(project)
    # Makes them in fewer programs than DVC; what comes after the training is left out.
    project.must("snakemake", "--cores", "2", "--", "results/faces/guest/generator.safetensors")
    later = status(project)
    assert "translate@faces-guest" in later and not told & later

    project.append("guests/unused.py", "\n# an edit\n")
    assert status(project) == {"outside@guests", *later}
    train = ("dvc", "repro", "train@faces-guest")
    assert project.must(*train).stages == ["outside@guests", "settings"]
    project.append("guests/method.py", "\n# an edit\n")
    assert project.must(*train).stages == ["outside@guests", "settings", "train@faces-guest"]


def test_new_experiments_ask_for_new_stages(project: Project) -> None:
    project.edit("params.yaml", "  - {dataset: synthetic, method: hier_seg}\n", "")
    done = project.run("dvc", "repro")
    assert done.status != 0
    assert "Run `mimik params --stages`" in done.text
    project.must("env", "PYTHONPATH=src", "python", "-m", "mimik.cli", "params", "--stages")
    assert [stage for stage in project.must("dvc", "repro").stages if "hier_seg" in stage] == []
    assert "hier_seg" not in project.must("dvc", "stage", "list").text


def test_every_stage_of_the_shipped_experiments_is_one_rule_and_declares_its_outputs() -> None:
    """The command names a rule with a target that it makes; every file of the rule lies in an output of the stage."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    rules = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
    written = {
        rule: re.findall(
            r'^ {8}\w+=(?:report\(\s*)?"([^"]+)"', block.partition("output:")[2].partition("log:")[0], re.M
        )
        for rule, block in re.findall(r"^rule (\w+):\n(.*?)(?=^rule |\Z)", rules, re.M | re.S)
    }
    del written["papers"]  # it shows whatever is there, and is made when somebody asks for it
    never_pushed = {f"{rule}_restricted" for rule in written} - {"evaluate_restricted", "compare_restricted"}
    assert set(stages) == {"outside", "settings", *written, *never_pushed}
    for name in set(stages) - {"outside", "settings"}:
        rule = name.removesuffix("_restricted")
        files = written[rule]
        stage = stages[name].get("do", stages[name])
        command, target = stage["cmd"].split(" -- ")
        assert command == "${rule} " + rule
        entries = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
        declared = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
        if name in never_pushed:
            assert stages[name]["foreach"] == f"${{restricted.{rule}}}"
            assert entries == [{path: {"push": False}} for path in declared]
        plain = [re.sub(r"\$\{item\.(\w+)\}", r"{\1}", path) for path in declared]
        assert files
        assert re.sub(r"\$\{item\.(\w+)\}", r"{\1}", target) in files
        for file in files:
            assert any(file == path or file.startswith(f"{path}/") for path in plain), f"{rule}: {file} is no output"


def test_dvc_shows_the_shipped_files_of_params() -> None:
    from mimik.settings.reading import files_of

    shown = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["params"]
    assert shown == [str(file.relative_to(ROOT)) for file in files_of(ROOT / "params.yaml")[1:]]


def test_the_shipped_stages_are_those_of_the_shipped_experiments() -> None:
    from mimik.settings import params, stages

    table = json.loads((ROOT / stages.TABLE).read_text(encoding="utf-8"))
    assert table == stages.dvc_table(params.load(ROOT / "params.yaml"), ROOT), "run `mimik params --stages`"
