"""The short form of metrics.json."""

from mimik.evaluation.scores import by_target, scores

ENTRIES = {
    "eea": {"value": 0.5, "ci": [0.4, 0.6]},
    "eea_copy": {"value": 0.1},
    "eea_truth": {"value": 0.9},
    "copy_truth_psnr": {"value": 20.0},
    "truth_psnr": {"value": 25.0},
    "miou_after": {"value": 1},
    "fid": {"skipped": "no weights"},
    "confusion": {"value": [[1]]},
    "eea_per_class": {"value": {"anger": 0.25, "fear": 0.75}},
}


def test_scores_are_the_methods_own_single_numbers() -> None:
    assert scores(ENTRIES) == {"eea": 0.5, "truth_psnr": 25.0, "miou_after": 1}


def test_accuracy_by_target_is_that_of_the_kind_of_targets() -> None:
    assert by_target(ENTRIES) == {"anger": 0.25, "fear": 0.75}
    reversed_ = {"attribute_accuracy_per_attribute": {"value": {"smiling": 0.5}}, "eea_per_class": {"skipped": "none"}}
    assert by_target(reversed_) == {"smiling": 0.5}
    assert by_target({}) == {}
