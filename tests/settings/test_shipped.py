"""What comes with mimik, in a wheel and in a new project. `make wheel-check` also installs the wheel anew."""

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml

from mimik.errors import UserError
from mimik.settings import params, shipped, stages

ROOT = Path(__file__).parents[2]
WHEEL = os.environ.get("MIMIK_WHEEL", "")


def run(command: list[str], folder: Path, **variables: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | variables
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def test_a_new_project_has_the_settings_of_the_repository_and_no_rules(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    shipped.new_project(tmp_path)
    assert params.load(tmp_path / "params.yaml") == params.load(ROOT / "params.yaml")
    for name in ("dvc.yaml", "profiles/default/config.yaml", ".gitignore", ".dvc/config"):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "workflow").iterdir()) == ["nothing.txt"]
    assert (tmp_path / ".git").is_dir() and (tmp_path / "README.md").read_text() == "mine"


def test_a_project_inside_of_a_repository_gets_none_of_its_own(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    assert shipped.new_project(tmp_path / "inside") == []
    assert not (tmp_path / "inside" / ".git").exists()


def test_a_computer_without_git_gets_a_project_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (fault,) = shipped.new_project(tmp_path / "new")
    assert "git is not installed" in fault and (tmp_path / "new" / "params.yaml").is_file()


def test_a_new_project_goes_over_no_file(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("mine")
    with pytest.raises(UserError, match=r"already contains params\.yaml\. Name a new folder"):
        shipped.new_project(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
    with pytest.raises(UserError, match="is a file; expected a folder"):
        shipped.new_project(tmp_path / "params.yaml")


def test_an_installation_without_its_files_is_told_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path / "src" / "mimik")
    with pytest.raises(UserError, match=r"params\.yaml: neither .* is there\. Install mimik from its wheel"):
        shipped.new_project(tmp_path / "new")


def test_stages_of_a_project_name_the_package_that_it_runs(tmp_path: Path) -> None:
    values = params.load(ROOT / "params.yaml")
    assert stages.dvc_table(values, ROOT)["package"] == "src/mimik"
    assert stages.dvc_table(values, tmp_path)["package"] == str(shipped.PACKAGE)
    assert stages.package_of(tmp_path) == shipped.PACKAGE


def test_the_repository_is_what_the_workflow_catalog_lists() -> None:
    """Its rules: https://github.com/snakemake/snakemake-workflow-catalog."""
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
    assert usage.keys() == {"mandatory-flags", "software-stack-deployment"}
    assert usage["software-stack-deployment"]["conda"] is usage["software-stack-deployment"]["report"] is True
    assert (ROOT / "workflow" / "Snakefile").is_file() and (ROOT / "config" / "README.md").is_file()
    # Where the catalog runs `snakemake -d .test --rulegraph`.
    assert params.load(ROOT / ".test" / "params.yaml") == params.load(ROOT / "params.yaml")


@pytest.mark.slow
def test_what_the_catalog_runs_makes_all_by_default(tmp_path: Path) -> None:
    for name in ("params.yaml", "params"):
        (tmp_path / name).symlink_to(ROOT / name)
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow/Snakefile"), "--dry-run"]
    assert re.search(r"^train +2$", run([*snakemake, "--cores", "1"], tmp_path), re.MULTILINE)


def test_every_target_that_github_runs_is_one_of_the_makefile() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text(encoding="utf-8"))["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"] if "if" not in step]
    asked = {step["run"].split()[1] for step in steps if step.get("run", "").startswith("make ")}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert asked == {"check", "test", "smoke", "wheel-check"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in asked)


@pytest.mark.slow
def test_a_wheel_has_the_files_of_a_project_and_they_make_one(tmp_path: Path) -> None:
    built, project = tmp_path / "built", tmp_path / "project"
    build = [sys.executable, "setup.py", "-q", "build", "--build-base", str(tmp_path / "b"), "--build-lib", str(built)]
    run(build, ROOT)
    inside = built / "mimik" / "project"
    tracked = run(["git", "ls-files", "-co", "--exclude-standard", *shipped.SHIPPED], ROOT).split()
    wanted = {name for name in tracked if name != stages.TABLE.as_posix()}
    there = {path.relative_to(inside).as_posix() for path in inside.rglob("*") if path.is_file()}
    assert there == {shipped.packaged(name) for name in wanted}
    assert not [name for name in there if "/." in f"/{name}"]  # DVC looks into no folder with a .dvcignore
    assert all((inside / shipped.packaged(name)).read_bytes() == (ROOT / name).read_bytes() for name in wanted)

    told = run([sys.executable, "-m", "mimik.cli", "init", str(project)], tmp_path, PYTHONPATH=str(built))
    assert f"cd {project}" in told
    planned = run([sys.executable, "-m", "snakemake", "--dry-run"], project, PYTHONPATH=str(built))
    assert "train             2\n" in planned and str(built / "mimik") not in (project / "params.yaml").read_text()
    table = json.loads((project / stages.TABLE).read_text(encoding="utf-8"))
    assert table["package"] == str(built / "mimik") and "synthetic-stargan" in table["jobs"]["train"]


@pytest.mark.skipif(not WHEEL, reason="`make wheel-check` sets MIMIK_WHEEL; it downloads torch and all else")
def test_an_installed_wheel_makes_a_project_that_trains(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    programs = tmp_path / "env" / "bin"
    run([str(programs / "python"), "-m", "pip", "install", "--quiet", WHEEL], tmp_path)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    run(["mimik", "init", "project"], tmp_path, PATH=path)
    project = tmp_path / "project"
    assert "train             2\n" in run(["snakemake", "--dry-run"], project, PATH=path)
    settings = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(settings.replace("\nscale:\n", "\nscale: smoke\n", 1), encoding="utf-8")
    run(["mimik", "params", "--stages"], project, PATH=path)
    run(["snakemake", "--cores", "2", "results/synthetic/stargan/report.html"], project, PATH=path)
    metrics = json.loads((project / "results/synthetic/stargan/metrics.json").read_text(encoding="utf-8"))
    assert metrics["scale"] == "smoke" and metrics["git_commit"] is None
    assert "DVC is up to date" in run(["mimik", "dvc"], project, PATH=path)
    run(["mimik", "evaluate", "synthetic", "stargan", "--scale", "smoke"], project, PATH=path)
