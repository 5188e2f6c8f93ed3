"""Further trainings of a method: names, seeds, which jobs they have, and what they share."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mimik.errors import UserError
from mimik.settings import params, stages
from mimik.settings.replicates import Replicate, pattern, replicate, seed_of, trainings

SMALL = yaml.safe_load(
    (Path(__file__).parents[1] / "workflow" / "params.yaml").read_text(encoding="utf-8")
)  # methods stargan and hier_seg on synthetic
HERE = params.load(Path(__file__).parents[2] / "params.yaml")


def several(number: int, **changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(SMALL), "replicates": number, **changes}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stargan", Replicate("stargan", 1)),
        ("stargan@2", Replicate("stargan", 2)),
        ("stargan@12", Replicate("stargan", 12)),
        ("celeba/ef_gan@3", Replicate("celeba/ef_gan", 3)),
        ("stargan@1", Replicate("stargan@1", 1)),  # the first has no number: not a name of an entry
        ("stargan@02", Replicate("stargan@02", 1)),
    ],
)
def test_a_name_is_an_entry_and_a_number(name: str, expected: Replicate) -> None:
    assert replicate(name) == expected and expected.name == name


def test_names_match_the_pattern_of_the_rules() -> None:
    expression = re.compile(pattern(["stargan", "stargan_au"]))
    assert all(expression.fullmatch(name) for name in ("stargan", "stargan@2", "stargan_au@10"))
    assert not any(
        expression.fullmatch(name) for name in ("stargan@1", "stargan@", "stargan@x", "icgan@2", "stargan@02")
    )


def test_seeds_count_up_and_never_leave_what_is_a_seed() -> None:
    assert [seed_of(name, 7) for name in trainings("a", 3)] == [7, 8, 9]
    assert seed_of("a@2", 2**63 - 1) == 0


def test_a_further_training_differs_from_the_first_in_name_and_seed_only() -> None:
    first, second = (params.resolve(SMALL, "synthetic", name) for name in ("hier_seg", "hier_seg@2"))
    assert second == {**first, "method": "hier_seg@2", "seed": first["seed"] + 1}
    assert params.resolve_translation(SMALL, "synthetic", "hier_seg@2") == params.resolve_translation(
        SMALL, "synthetic", "hier_seg"
    )
    measured = params.resolve_evaluation(SMALL, "synthetic", "hier_seg@2")
    assert measured == {**params.resolve_evaluation(SMALL, "synthetic", "hier_seg"), "method": "hier_seg@2"}


@pytest.mark.parametrize("name", ["nothing@2", "stargan@1", "stargan@0", "stargan@two"])
def test_names_of_no_training_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"is not in params\.yaml under 'methods'"):
        params.resolve(SMALL, "synthetic", name)


def test_experiments_are_all_trainings_and_without_replicates_as_ever() -> None:
    assert params.experiments(several(1)) == params.experiments(SMALL)
    names = [pair.method for pair in params.experiments(several(2))]
    assert names == ["stargan", "stargan@2", "hier_seg", "hier_seg@2"]
    assert stages.stage_table(several(1)) == stages.stage_table(SMALL)


def test_stages_of_further_trainings_share_what_is_trained_before() -> None:
    jobs = stages.stage_table(several(2))["jobs"]
    assert list(jobs["train"]) == [
        "synthetic-stargan",
        "synthetic-stargan-2",
        "synthetic-hier_seg",
        "synthetic-hier_seg-2",
    ]
    first, second = jobs["train"]["synthetic-hier_seg"], jobs["train"]["synthetic-hier_seg-2"]
    assert second == {**first, "method": "hier_seg@2"}
    once = stages.stage_table(several(1))["jobs"]
    assert all(jobs[kind] == once[kind] for kind in ("prepare", "segmenter", "classifier", "reader"))


def test_what_a_training_starts_from_has_its_number_unless_it_was_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    at = {"dataset": "synthetic", "method": "cascade_ef_gan@3"}
    assert stages.weights(HERE, "starts_from", at) == "results/synthetic/ef_gan@3/generator.safetensors"
    assert params.resolve(HERE, "synthetic", "cascade_ef_gan@3")["starts_from"] == "ef_gan@3"
    values = {**HERE, "replicates": 2, "experiments": [{"dataset": "synthetic", "method": "cascade_ef_gan"}]}
    trained = list(stages.stage_table(values)["jobs"]["train"])
    assert trained == [f"synthetic-{name}" for name in ("ef_gan", "cascade_ef_gan", "ef_gan-2", "cascade_ef_gan-2")]
    folder = tmp_path / "results" / "synthetic" / "ef_gan"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"imported": {}}')
    assert stages.weights(HERE, "starts_from", at) == "results/synthetic/ef_gan/generator.safetensors"
    assert params.trainings_of({"replicates": 3}, "synthetic", "ef_gan") == ["ef_gan"]  # weights are there once
    assert params.trainings_of({"replicates": 2}, "synthetic", "stargan") == ["stargan", "stargan@2"]


@pytest.mark.parametrize("number", [0, 1.5, "two", 100])
def test_a_number_of_trainings_that_is_none_is_refused(number: object) -> None:
    with pytest.raises(UserError, match="replicates"):
        params.validate({**HERE, "replicates": number}, Path(__file__).parents[2] / params.SCHEMA)
