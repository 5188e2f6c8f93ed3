import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mimik.errors import UserError
from mimik.settings import stages

HERE = Path(__file__).parents[1] / "workflow"
SMALL = yaml.safe_load((HERE / "params.yaml").read_text(encoding="utf-8"))
AT = {"dataset": "synthetic", "method": "hier_seg"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose package is the stand-ins of the workflow's tests."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "mimik").symlink_to(HERE / "standins")
    stages.write_table(SMALL, tmp_path)
    return tmp_path


def test_the_table_has_each_job_once_with_what_it_reads() -> None:
    jobs = stages.stage_table(SMALL)["jobs"]
    assert list(jobs["prepare"]) == ["synthetic"]
    assert jobs["segmenter"] == {"synthetic-bisenet": {"dataset": "synthetic", "segmenter": "bisenet"}}
    assert jobs["train"]["synthetic-hier_seg"]["reads"]["segmenter"] == "data/pretrained/synthetic/segmenter/bisenet"
    assert jobs["train"]["synthetic-stargan"]["reads"]["segmenter"] == "data/prepared/synthetic/manifest.json"
    reads = {rule: jobs[rule]["synthetic-hier_seg"]["reads"]["segmenter"] for rule in ("train", "translate")}
    assert reads["translate"] == reads["train"]  # translating keeps the segmenter's masks before and after
    for rule, count in (("evaluate", 4), ("train", 6), ("translate", 2), ("report", 1)):
        reads = jobs[rule]["synthetic-stargan"]["reads"]
        assert len(set(reads.values())) == count  # DVC refuses a dependency that is listed twice


def test_what_was_imported_has_no_stage_and_is_read_all_the_same(tmp_path: Path) -> None:
    before = stages.stage_table(SMALL, tmp_path)["jobs"]
    for place in ("results/synthetic/stargan", "data/pretrained/synthetic/segmenter/bisenet"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "config.json").write_text('{"imported": {"file": "a.pth"}}')
    trained = tmp_path / "results/synthetic/hier_seg"
    trained.mkdir()
    for content in ('{"module": "hier_seg"}', "{", "[]"):
        (trained / "config.json").write_text(content)
        jobs = stages.stage_table(SMALL, tmp_path)["jobs"]
        assert jobs["segmenter"] == {} and list(jobs["train"]) == ["synthetic-hier_seg"]
    assert jobs["translate"] == before["translate"] and jobs["train"].items() <= before["train"].items()
    assert "synthetic-stargan" in jobs["evaluate"]


def test_a_validated_training_waits_for_the_classifier() -> None:
    values = {**SMALL, "methods": {**SMALL["methods"], "stargan": {**SMALL["methods"]["stargan"]}}}
    at = {**AT, "method": "stargan"}
    assert stages.weights(values, "judge", at) is None
    code = stages.code(values, "train", at, HERE.parents[1] / "src" / "mimik")
    assert "evaluation/validation.py" not in code
    reads = stages.stage_table(values)["jobs"]["train"]["synthetic-stargan"]["reads"]
    assert reads["judge"].startswith("data/prepared/synthetic/images_")
    values["methods"]["stargan"]["training"] = {"validate_every": 5}
    path = stages.weights(values, "classifier", at)
    assert path is not None and stages.weights(values, "judge", at) == path
    table = stages.stage_table(values)["jobs"]
    assert table["train"]["synthetic-stargan"]["reads"]["judge"] == str(Path(path).parent)
    assert len(set(table["train"]["synthetic-stargan"]["reads"].values())) == len(reads)
    assert "evaluation/validation.py" in stages.code(values, "train", at, HERE.parents[1] / "src" / "mimik")
    values["methods"]["stargan"]["condition"] = {"space": "attributes"}
    assert stages.weights(values, "judge", at) is None, "attributes are not validated"


def test_a_method_that_starts_from_another_waits_for_it() -> None:
    later = {**SMALL["methods"]["hier_seg"], "starts_from": "stargan"}
    values = {**SMALL, "methods": {**SMALL["methods"], "hier_seg": later}}
    assert stages.weights(values, "starts_from", AT) == "results/synthetic/stargan/generator.safetensors"
    reads = stages.stage_table(values)["jobs"]["train"]["synthetic-hier_seg"]["reads"]
    assert reads["starts_from"] == "results/synthetic/stargan/generator.safetensors"


def test_jobs_on_restricted_datasets_stand_by_themselves_but_for_those_that_make_numbers() -> None:
    licensed = {**SMALL, "experiments": [*SMALL["experiments"], {"dataset": "affectnet", "method": "hier_seg"}]}
    table = stages.stage_table(licensed)
    names = {group: {rule: list(jobs) for rule, jobs in table[group].items()} for group in table}
    key = "affectnet-hier_seg"
    assert names["restricted"] == {
        "prepare": ["affectnet"],
        "label_quality": [],
        "segmenter": ["affectnet-bisenet"],
        "depth_network": [],
        "classifier": ["affectnet-small"],
        "reader": [],
        **{rule: [key] for rule in ("train", "translate", "report")},
    }
    assert key in names["jobs"]["evaluate"]
    assert "affectnet" not in json.dumps({**names["jobs"], "evaluate": []})
    free = stages.stage_table(SMALL)
    assert free["jobs"]["train"] == table["jobs"]["train"]
    assert not any(free["restricted"].values())


def test_a_dataset_whose_masks_a_segmenter_makes_needs_that_segmenter_first() -> None:
    entry = {**SMALL["datasets"]["synthetic"], "dataset": "synthetic", "masks": "segmenter"}
    values = {**SMALL, "datasets": {**SMALL["datasets"], "faces": {**entry, "masks_from": "affectnet/bisenet"}}}
    values["experiments"] = [{"dataset": "faces", "method": "stargan"}]
    folder = "data/pretrained/affectnet/segmenter/bisenet"
    assert stages.weights(values, "masks", {"dataset": "faces"}) == f"{folder}/model.safetensors"
    assert stages.weights(values, "masks", {"dataset": "affectnet"}) is None
    table = stages.stage_table(values)
    # Masks by a network that has learnt from restricted faces are treated like these.
    prepared = table["restricted"]["prepare"]
    assert {name: job["reads"]["masks"] for name, job in prepared.items()} == {
        "affectnet": "workflow/nothing.txt",
        "faces": folder,
    }
    assert table["restricted"]["segmenter"] == {"affectnet-bisenet": {"dataset": "affectnet", "segmenter": "bisenet"}}
    assert not stages.restricted(values, "synthetic")
    root = HERE.parents[1] / "src" / "mimik"
    code = {name: stages.code(values, "prepare", {"dataset": name}, root) for name in ("faces", "affectnet")}
    network = "networks/bisenet.py"
    assert network in code["faces"] and network not in code["affectnet"]


def elsewhere(**changes: Any) -> dict[str, Any]:
    """SMALL, with hier_seg on `synthetic` as its only experiment, the segmenter of which is trained on `affectnet`."""
    values = copy.deepcopy(SMALL)
    values["methods"]["hier_seg"]["segmenter"] = "affectnet/bisenet"
    return {**values, "experiments": [dict(AT)], **changes}


def test_a_segmenter_of_another_dataset_is_trained_there_and_measured_there() -> None:
    values = elsewhere()
    folder = "data/pretrained/affectnet/segmenter/bisenet"
    assert stages.weights(values, "segmenter", AT) == f"{folder}/model.safetensors"
    assert stages.segmented(values, AT) == "data/prepared/affectnet"
    assert stages.segmented(SMALL, AT) is None and stages.segmented(values, {**AT, "method": "stargan"}) is None
    assert stages.segmented(values, {**AT, "dataset": "affectnet"}) is None
    table = stages.stage_table(values)
    free, kept = table["jobs"], table["restricted"]
    assert kept["segmenter"] == {"affectnet-bisenet": {"dataset": "affectnet", "segmenter": "bisenet"}}
    assert list(kept["prepare"]) == ["affectnet"] and list(free["prepare"]) == ["synthetic"]
    assert not free["segmenter"] and list(free["classifier"]) == ["synthetic-small"]
    key = "synthetic-hier_seg"
    for rule in ("train", "translate", "report"):
        # What a network of restricted faces has shaped, and pages that show them, are treated like these.
        assert list(kept[rule]) == [key] and not free[rule], rule
        assert kept[rule][key]["reads"]["segmented"] == "data/prepared/affectnet"
        assert kept[rule][key]["reads"].get("segmenter", folder) == folder
    assert free["evaluate"][key]["reads"]["segmented"] == "data/prepared/affectnet"
    for rule in ("train", "evaluate"):
        assert stages.settings(values, rule, AT)["pretrained"] == {"segmenter": "affectnet/bisenet"}
    values["segmenters"]["bisenet"]["network"] = "lab.network"
    for rule in ("train", "translate", "evaluate"):
        assert stages._networks(values, rule, AT) == ["lab.network"]


def test_a_segmenter_of_a_free_dataset_restricts_nothing() -> None:
    values = elsewhere()
    values["datasets"]["faces"] = {**values["datasets"]["synthetic"], "dataset": "synthetic"}
    values["methods"]["hier_seg"]["segmenter"] = "faces/bisenet"
    table = stages.stage_table(values)
    assert not any(table["restricted"].values())
    assert list(table["jobs"]["prepare"]) == ["synthetic", "faces"]
    assert list(table["jobs"]["segmenter"]) == ["faces-bisenet"]


def test_what_starts_from_a_restricted_method_is_restricted() -> None:
    values = elsewhere(experiments=[{"dataset": "synthetic", "method": "later"}])
    values["methods"]["later"] = {**values["methods"]["stargan"], "starts_from": "hier_seg"}
    assert stages.restricted(values, "synthetic", "later") and not stages.restricted(values, "synthetic", "stargan")
    assert list(stages.stage_table(values)["restricted"]["train"]) == ["synthetic-hier_seg", "synthetic-later"]


def test_a_method_may_start_from_one_of_another_dataset() -> None:
    values = copy.deepcopy(SMALL)
    values["methods"]["later"] = {**values["methods"]["stargan"], "starts_from": "affectnet/earlier"}
    values["methods"]["earlier"] = {**values["methods"]["stargan"], "starts_from": "stargan"}
    values["experiments"] = [{"dataset": "synthetic", "method": "later"}]
    at = {"dataset": "synthetic", "method": "later"}
    assert stages.weights(values, "starts_from", at) == "results/affectnet/earlier/generator.safetensors"
    assert stages.weights(values, "starts_from", {**at, "dataset": "affectnet"}) == stages.weights(
        values, "starts_from", at
    )
    table = stages.stage_table(values)
    free, kept = table["jobs"], table["restricted"]
    # The chain goes on where it has come to; what faces that are restricted have shaped is restricted.
    assert list(kept["train"]) == ["affectnet-stargan", "affectnet-earlier", "synthetic-later"] and not free["train"]
    first = "results/affectnet/stargan/generator.safetensors"
    assert kept["train"]["affectnet-earlier"]["reads"]["starts_from"] == first
    assert list(kept["prepare"]) == ["affectnet"] and list(free["prepare"]) == ["synthetic"]
    # Nothing is measured on the way.
    assert list(free["classifier"]) == ["synthetic-small"] and not kept["classifier"]
    assert list(kept["translate"]) == ["synthetic-later"] and list(free["evaluate"]) == ["synthetic-later"]


def test_the_segmenter_s_dataset_may_have_its_masks_from_a_third() -> None:
    values = elsewhere()
    entry = {**values["datasets"]["synthetic"], "dataset": "synthetic", "masks": "segmenter"}
    values["datasets"]["faces"] = {**entry, "masks_from": "affectnet/bisenet"}
    values["methods"]["hier_seg"]["segmenter"] = "faces/bisenet"
    table = stages.stage_table(values)["restricted"]
    assert list(table["prepare"]) == ["affectnet", "faces"]
    assert list(table["segmenter"]) == ["affectnet-bisenet", "faces-bisenet"]
    assert list(table["train"]) == ["synthetic-hier_seg"]


def test_what_an_experiment_starts_from_is_trained_and_no_more() -> None:
    methods = {**SMALL["methods"], "later": {**SMALL["methods"]["stargan"], "starts_from": "hier_seg"}}
    experiments = [{"dataset": "synthetic", "method": "later"}]
    jobs = stages.stage_table({**SMALL, "methods": methods, "experiments": experiments})["jobs"]
    assert list(jobs["train"]) == ["synthetic-hier_seg", "synthetic-later"]
    assert list(jobs["segmenter"]) == ["synthetic-bisenet"]
    for rule in ("translate", "evaluate", "report"):
        assert list(jobs[rule]) == ["synthetic-later"]


def test_a_depth_network_is_a_job_of_the_methods_that_name_it() -> None:
    assert stages.stage_table(SMALL)["jobs"]["depth_network"] == {}
    guided = {**SMALL["methods"]["hier_seg"], "depth_network": "depth"}
    jobs = stages.stage_table({**SMALL, "methods": {**SMALL["methods"], "hier_seg": guided}})["jobs"]
    assert jobs["depth_network"] == {"synthetic-depth": {"dataset": "synthetic", "depth_network": "depth"}}
    reads = jobs["train"]["synthetic-hier_seg"]["reads"]
    assert reads["depth_network"] == "data/pretrained/synthetic/depth_network/depth"


def test_the_table_is_written_only_when_it_changes(project: Path) -> None:
    assert not stages.write_table(SMALL, project)
    fewer = {**SMALL, "experiments": SMALL["experiments"][:1]}
    assert stages.write_table(fewer, project)
    assert list(json.loads((project / stages.TABLE).read_text())["jobs"]["train"]) == ["synthetic-stargan"]


def test_decisions_change_with_settings_and_code_of_their_job_only(project: Path) -> None:
    def decisions() -> dict[str, str]:
        files = (project / stages.DECISIONS).rglob("*.json")
        return {file.relative_to(project / stages.DECISIONS).as_posix(): file.read_text() for file in files}

    stages.write_decisions(SMALL, project)
    before = decisions()
    assert len(before) == 1 + 3 + 4 * 2 + 1
    trained = json.loads(before["train/synthetic-hier_seg.json"])
    assert trained["settings"] == stages.settings(SMALL, "train", AT)
    assert sorted(trained["code"]) == ["methods/hier_seg.py", "training/loop.py", "training/runs.py"]

    faster = {**SMALL, "methods": {**SMALL["methods"], "stargan": {"method": "stargan", "training": {"steps": 9}}}}
    stages.write_decisions(faster, project)
    assert [name for name, text in decisions().items() if text != before[name]] == ["train/synthetic-stargan.json"]


def test_an_entry_of_another_name_runs_the_code_of_its_module() -> None:
    values = {**SMALL, "datasets": {**SMALL["datasets"], "few": {**SMALL["datasets"]["affectnet"]}}}
    values["datasets"]["few"]["dataset"] = "affectnet"
    package = HERE / "standins"
    files = set(stages.code(values, "prepare", {"dataset": "few"}, package))
    assert "datasets/affectnet.py" in files
    assert "datasets/synthetic.py" not in files


def test_decisions_of_jobs_that_are_gone_are_removed(project: Path) -> None:
    stages.write_decisions(SMALL, project)
    fewer = {**SMALL, "experiments": SMALL["experiments"][:1]}
    with pytest.raises(UserError, match="mimik params --stages"):
        stages.write_decisions(fewer, project)
    stages.write_table(fewer, project)
    stages.write_decisions(fewer, project)
    assert not list((project / stages.DECISIONS).rglob("*hier_seg*"))


def test_a_method_told_attributes_is_judged_by_the_classifier_of_attributes() -> None:
    told = {**SMALL["methods"]["stargan"], "condition": {"space": "attributes"}}
    values = {**SMALL, "methods": {**SMALL["methods"], "told": told}}
    folder = "data/pretrained/synthetic/classifier"
    at = {**AT, "method": "told"}
    assert stages.weights(values, "classifier", at) == f"{folder}/attributes/model.safetensors"
    assert stages.weights(values, "classifier", AT) == f"{folder}/small/model.safetensors"
    assert stages.settings(values, "evaluate", at)["classifier"] == "attributes"
    # It is trained for such methods only.
    assert list(stages.stage_table(values)["jobs"]["classifier"]) == ["synthetic-small"]
    experiments = [*SMALL["experiments"], {"dataset": "synthetic", "method": "told"}]
    jobs = stages.stage_table({**values, "experiments": experiments})["jobs"]
    assert list(jobs["classifier"]) == ["synthetic-small", "synthetic-attributes"]
    assert jobs["evaluate"]["synthetic-told"]["reads"]["classifier"] == f"{folder}/attributes"


def test_weights_stand_where_the_rules_write_them() -> None:
    assert stages.weights(SMALL, "segmenter", AT) == "data/pretrained/synthetic/segmenter/bisenet/model.safetensors"
    assert stages.weights(SMALL, "segmenter", {**AT, "method": "stargan"}) is None
    assert stages.weights(SMALL, "reader", {**AT, "dataset": "affectnet"}) is None


def test_labels_are_scored_before_what_learns_them_where_a_dataset_asks_for_it() -> None:
    assert stages.stage_table(SMALL)["jobs"]["label_quality"] == {}
    assert stages.label_scores(SMALL, "synthetic") is None
    for told in ({}, {"label_quality": None}, {"label_quality": {"folds": 3}}):
        entry = {**SMALL["datasets"]["synthetic"], **told}
        values = {**SMALL, "datasets": {**SMALL["datasets"], "synthetic": entry}}
        assert stages.stage_table(values) == stages.stage_table(SMALL)
        for rule, at in (("train", AT), ("classifier", {"dataset": "synthetic", "classifier": "small"})):
            assert stages.settings(values, rule, at) == stages.settings(SMALL, rule, at)
    entry = {**SMALL["datasets"]["synthetic"], "label_quality": {"action": "weight", "folds": 3}}
    values = {**SMALL, "datasets": {**SMALL["datasets"], "synthetic": entry}}
    jobs, folder = stages.stage_table(values)["jobs"], "data/label_quality/synthetic"
    assert jobs["label_quality"] == {"synthetic": {"dataset": "synthetic"}}
    assert stages.label_scores(values, "synthetic") == f"{folder}/label_quality.json"
    assert jobs["train"]["synthetic-stargan"]["reads"]["labels"] == folder
    assert jobs["classifier"]["synthetic-small"]["reads"]["labels"] == folder
    used = {"action": "weight", "reliable": 0.7}
    assert stages.settings(values, "train", AT)["label_quality"] == used
    assert stages.settings(values, "classifier", {**AT, "classifier": "small"})["label_quality"] == used
    scoring = stages.settings(values, "label_quality", AT)
    assert scoring["folds"] == 3 and scoring["classifier"]["name"] == "small"
    # What is done with the scores changes neither them nor the faces.
    entry["label_quality"] = {"action": "leave_out", "folds": 3}
    assert stages.settings(values, "label_quality", AT) == scoring
    assert stages.settings(values, "prepare", AT) == stages.settings(SMALL, "prepare", AT)
    code = stages.code(values, "label_quality", AT, HERE.parents[1] / "src" / "mimik")
    assert {"pretraining/label_quality.py", "statistics/label_noise.py", "inspection/contact_sheets.py"} <= set(code)


def test_a_classifier_of_attributes_does_not_wait_for_scores_of_labels() -> None:
    entry = {**SMALL["datasets"]["synthetic"], "label_quality": {"action": "leave_out"}}
    told = {"network": "small", "predicts": "attributes"}
    values = {**SMALL, "datasets": {"synthetic": entry}, "classifiers": {**SMALL["classifiers"], "attributes": told}}
    at = {"dataset": "synthetic", "classifier": "attributes"}
    assert "label_quality" not in stages.settings(values, "classifier", at)
