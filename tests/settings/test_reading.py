"""params.yaml and the files of params/ read as one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mimik.errors import UserError
from mimik.settings import params
from mimik.settings.checks import check_settings
from mimik.settings.reading import files_of, read

ROOT = Path(__file__).parents[2]
SHIPPED = files_of(ROOT / "params.yaml")
LONGEST = 250
"""Lines of params.yaml that a person still looks through."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The shipped settings, to be changed at will."""
    for file in SHIPPED:
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy2(file, copy)
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    return tmp_path


def refusal(project: Path) -> str:
    """What is said of the settings of a project, its folder left out."""
    with pytest.raises(UserError) as caught:
        values, origins = read(project / "params.yaml")
        params.validate(values, project / params.SCHEMA, origins)
        check_settings(values, origins)
    return str(caught.value).replace(f"{project}/", "")


def test_what_a_person_changes_fits_on_a_few_screens() -> None:
    assert len((ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()) <= LONGEST
    here = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    expected = ["seed", "replicates", "scale", "protocol", "mirror", "experiments", "systems", "datasets", "methods"]
    assert list(here) == expected
    assert set(here["systems"]) <= set(here["methods"])
    assert here["datasets"] == read(ROOT / "params.yaml")[0]["datasets"]


def test_which_file_a_setting_stands_in_makes_no_difference(tmp_path: Path) -> None:
    values, origins = read(ROOT / "params.yaml")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    alone, one = read(tmp_path / "params.yaml")
    assert alone == values
    assert one.files == (tmp_path / "params.yaml",)
    assert list(origins.files) == SHIPPED and len(SHIPPED) > 1


def test_a_group_may_be_spread_over_files_and_any_file_is_read(project: Path) -> None:
    before = read(project / "params.yaml")[0]
    (project / "params/mine.yaml").write_text("methods:\n  mine: {method: stargan, conv_dim: 8}\n")
    (project / "params/later.yaml").write_text("# nothing yet\n")
    (project / "params/.hidden.yaml").write_text("seed: 1\n")
    (project / "params/README.md").write_text("seed: 1\n")
    values, origins = read(project / "params.yaml")
    assert values.pop("methods") == {**before.pop("methods"), "mine": {"method": "stargan", "conv_dim": 8}}
    assert values == before
    assert origins.places["methods.mine"] == (project / "params/mine.yaml",)
    assert project / "params/later.yaml" not in origins.files


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("methods: {hier_seg: {}}", "params/mine.yaml: methods.hier_seg is already set in params.yaml"),
        ("methods: {secgan_soft: {}}", "params/variants.yaml: methods.secgan_soft is already set in params/mine.yaml"),
        ("translation: {limit: 3}", "params/results.yaml: translation.limit is already set in params/mine.yaml"),
        ("seed: 0", "params/mine.yaml: seed is already set in params.yaml. Keep one of the two."),
        ("experiments: []", "params/mine.yaml: experiments is already set in params.yaml"),
        ("methods:", "params/mine.yaml: methods is already set in params.yaml"),
        ("- a", "params/mine.yaml: expected groups of settings (`methods:`, `scales:`, ...), got ['a']"),
        ("a: [", "params/mine.yaml: not readable as YAML"),
        ("methods:\n  x: {<<: *secgan}", "params/mine.yaml: not readable as YAML: found undefined alias"),
        ("methods:\n  x: 1\n  x: 2", "params/mine.yaml: line 3: the key 'x' occurs twice in its group"),
        ("sede: 1", "params/mine.yaml: 1 setting(s) cannot be used.\n  sede: nothing reads this"),
        ("datasets: {x: {scale: demo}}", "params/mine.yaml: 2 setting(s) cannot be used.\n  datasets.x: 'cla"),
        ("methods: {x: {method: starga}}", "params/mine.yaml: 1 setting(s) cannot be used.\n  methods.x.method: there"),
        ("methods: {x: {method: stargan, con: 1}}", "params/mine.yaml: 1 setting(s) cannot be used.\n  methods.x: "),
        ("translation: {bach: 1}", "params/mine.yaml, params/results.yaml: 1 setting(s) cannot be used.\n  tra"),
    ],
)
def test_a_fault_names_the_file_it_stands_in(project: Path, content: str, told: str) -> None:
    (project / "params/mine.yaml").write_text(content)
    assert refusal(project).startswith(told)


def test_faults_of_several_files_are_told_by_file(project: Path) -> None:
    for file, old, new in (
        ("params.yaml", "seed: 0", "seed: -1"),
        ("params.yaml", "open_faces:\n    scale: demo", "open_faces:\n    scale: 3"),
        ("params/scale_demo.yaml", "steps: 1150", "steps: 0"),
    ):
        text = (project / file).read_text(encoding="utf-8")
        assert old in text
        (project / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    first, second, third, fourth, fifth = refusal(project).split("\n")
    assert first == "params.yaml: 2 setting(s) cannot be used."
    assert "datasets.open_faces.scale:" in second and "seed:" in third
    assert fourth == "params/scale_demo.yaml: 1 setting(s) cannot be used."
    assert fifth.startswith("  scales.demo.training.steps: expected a whole number from 1")


def test_a_fault_of_a_dataset_s_evaluation_names_the_dataset(project: Path) -> None:
    text = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(text.replace("class_filter:", "class_filtre:"), encoding="utf-8")
    told = refusal(project)
    assert told.startswith("params.yaml: ") and "datasets.affectnet.evaluation: unknown setting class_filtre" in told


def test_what_cannot_be_meant_is_refused(project: Path) -> None:
    (project / "params/scale_lab.yml").write_text("scales: {}\n")
    with pytest.raises(UserError, match=r"params/scale_lab\.yml: expected files <name>\.yaml in this folder"):
        read(project / "params.yaml")
    (project / "params/scale_lab.yml").unlink()
    (project / "params/scales").mkdir()
    with pytest.raises(UserError, match=r"params/scales: expected files <name>\.yaml in this folder"):
        read(project / "params.yaml")
    shutil.rmtree(project / "params")
    told = refusal(project)
    assert told.startswith("params.yaml: 1 setting(s) cannot be used.\n  missing: segmenters, depth_networks,")
    assert "scales" in told and "the folder params/ beside it, of which there are none." in told
    (project / "params").write_text("")
    with pytest.raises(UserError, match="params: expected a readable folder"):
        read(project / "params.yaml")
    (project / "params.yaml").write_text("")
    (project / "params").unlink()
    with pytest.raises(UserError, match=r"params\.yaml: expected groups of settings .*, got None"):
        read(project / "params.yaml")


SHARED = {
    "cascade_ef_gan": {"modules", "interpolator"},
    "depth_guided": {"depth_network", "guidance", "adversary"},
    "secgan": {"guidance", "adversary", "condition"},
}
"""Systems whose settings their variants repeat in another file, and the settings in which these may differ."""


@pytest.mark.parametrize("name", SHARED)
def test_a_variant_is_its_system_but_for_what_it_varies(name: str) -> None:
    methods = read(ROOT / "params.yaml")[0]["methods"]
    alike = [other for other in methods if methods[other]["method"] == methods[name]["method"]]
    variants = [other for other in alike if other.startswith(f"{name}_")]
    assert len(variants) >= 2
    for variant in variants:
        one, other = (
            {key: value for key, value in methods[entry].items() if key not in SHARED[name]}
            for entry in (name, variant)
        )
        assert one == other, variant


@pytest.mark.slow
def test_snakemake_reads_the_same_and_lets_the_command_line_win(project: Path) -> None:
    """Its `config` after the Snakefile was read, with and without overrides."""
    for name in ("Snakefile", "src"):
        (project / name).symlink_to(ROOT / name)
    (project / "params/last.yaml").write_text("# nothing yet\n")
    (project / "over.yaml").write_text("scales: {demo: {training: {steps: 7}}}\nseed: 3\n")
    program = """
import json, sys
from pathlib import Path
from snakemake.api import ConfigSettings, ResourceSettings, SnakemakeApi
files, values = [Path(file) for file in sys.argv[1:]], {"scale": "smoke"} if sys.argv[1:] else {}
with SnakemakeApi() as api:
    workflow = api.workflow(
        resource_settings=ResourceSettings(), config_settings=ConfigSettings(config=values, configfiles=files),
        snakefile=Path("Snakefile"),
    )
    print(json.dumps(workflow._workflow.config))
"""

    def config(*files: str) -> dict[str, object]:
        done = subprocess.run(
            [sys.executable, "-c", program, *files], cwd=project, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))

    values = read(project / "params.yaml")[0]
    assert config() == values
    values["scales"]["demo"]["training"]["steps"] = 7
    assert config("over.yaml") == values | {"seed": 3, "scale": "smoke"}
