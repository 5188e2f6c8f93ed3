import importlib
import pkgutil
from pathlib import Path

import mimik.evaluation.metrics
from mimik.reporting.measured import Measured
from mimik.reporting.measures import MEASURES, printed, table
from tests.results_world import make, metric


def test_printed_values() -> None:
    assert printed(MEASURES["eea"], Measured(0.93127, (0.92, 0.9449), "", {})).text == "93.1"
    assert printed(MEASURES["eea"], Measured(0.93127, (0.92, 0.9449), "", {})).small == "92.0 to 94.5"
    assert printed(MEASURES["truth_psnr"], Measured(-3.456, None, "", {})).text == "−3.46"
    skipped = printed(MEASURES["fid"], Measured(None, None, "get the weights", {}))
    assert (skipped.text, skipped.small) == ("skipped", "get the weights")
    assert printed(MEASURES["fid"], None).text == "–"
    assert printed(MEASURES["miou_after"], Measured(None, None, "no segmenter", {"applies": False})).text == "–"


def test_among_single_trainings_none_is_the_best(tmp_path: Path) -> None:
    shared = {"copy_truth_psnr": metric(99.0)}
    results = [
        make(tmp_path, "a", metrics={"truth_psnr": metric(20.001), **shared}),
        make(tmp_path, "b", metrics={"truth_psnr": metric(19.0), **shared}),
    ]
    made = table(results, ["truth_psnr"])
    assert made is not None and not any(cell.best for line in made.lines for cell in line.cells)
    assert [line.name for line in made.lines if line.baseline] == ["Copy the input"]
    assert made.lines[2].cells[0].text == "99.00"
    assert made.notes[-1].endswith("so no best is marked.")


def test_a_lone_method_is_not_called_best(tmp_path: Path) -> None:
    made = table([make(tmp_path)], ["eea"])
    assert made is not None and not made.lines[0].cells[0].best


def test_what_is_for_other_methods_becomes_no_note(tmp_path: Path) -> None:
    other = {"skipped": "it measures reversed attributes", "applies": False}
    made = table([make(tmp_path, "a", metrics={"eea": metric(0.5), "attribute_accuracy": other})], list(MEASURES))
    assert made is not None and not any("attribute" in note for note in made.notes)


def test_what_nobody_measured_becomes_a_note(tmp_path: Path) -> None:
    skipped = {"skipped": "put the weights there"}
    first = make(tmp_path, "a", metrics={"eea": metric(0.5), "fid": skipped, "kid": skipped, "identity_loss": skipped})
    second = make(tmp_path, "b", metrics={"eea": metric(0.6), "fid": skipped, "identity_loss": metric(0.1)})
    made = table([first, second], ["eea", "fid", "kid", "identity_loss", "l1"])
    assert made is not None
    assert [column.key for column in made.columns] == ["eea", "identity_loss"]
    assert made.notes[:-1] == ("FID, KID skipped: put the weights there",)  # the last is on what intervals are over
    assert made.lines[0].cells[1].text == "skipped" and made.lines[0].cells[1].small == "put the weights there"
    assert made.lines[1].cells[1].text == "0.100" and not made.lines[1].cells[1].best


def test_the_true_target_row_states_what_holds_by_definition(tmp_path: Path) -> None:
    made = table(
        [make(tmp_path, metrics={"truth_psnr": metric(20), "au_error": metric(1), "au_error_truth": metric(0.1)})],
        ["truth_psnr", "au_error"],
    )
    assert made is not None
    (line,) = [line for line in made.lines if line.baseline]
    assert line.name == "True target"
    assert [(cell.text, cell.small) for cell in line.cells] == [("∞", "by definition"), ("0.100", "0.090 to 0.110")]


def test_baselines_of_what_a_classifier_sees(tmp_path: Path) -> None:
    metrics = {
        f"{name}{ending}": metric(value)
        for name in ("eea", "preservation_error", "fd_classifier", "kd_classifier")
        for ending, value in (("", 0.5), ("_copy", 0.1), ("_truth", 0.9))
    }
    made = table([make(tmp_path, metrics=metrics)], ["eea", "preservation_error", "fd_classifier", "kd_classifier"])
    assert made is not None
    copy, truth = made.lines[1:]
    assert [cell.text for cell in copy.cells] == ["10.0", "10.0", "0.10", "0.1000"]
    assert [cell.text for cell in truth.cells] == ["90.0", "90.0", "0.90", "0.9000"]


def test_measures_of_different_datasets_are_not_compared(tmp_path: Path) -> None:
    def named(value: float, **place: str) -> dict[str, float]:
        return {"miou_after": metric(value, **place), "eea": metric(value)}

    here = {"dataset": "rendered", "dataset_digest": "d" * 64}
    there = {"dataset": "celebamask_hq", "dataset_digest": "e" * 64}
    named_by = {"a": named(0.5, **here), "b": named(0.6, **here), "c": named(0.9, **there), "old": named(0.7)}
    results = {name: make(tmp_path, name, metrics=metrics) for name, metrics in named_by.items()}

    same = table([results["a"], results["b"], results["old"]], ["miou_after", "eea"])
    assert same is not None and len(same.notes) == 1  # files from before have no name: the result's own dataset
    assert not any(" on " in line.cells[0].small for line in same.lines)

    for first in ("a", "old"):
        mixed = table([results[first], results["c"]], ["miou_after", "eea"])
        assert mixed is not None
        assert mixed.notes[:-1] == (
            "mIoU after: measured on test faces of rendered and of celebamask_hq, which do not compare, so none is the "
            "best.",
        )
        assert [line.cells[0].small.split(" on ")[1] for line in mixed.lines] == ["rendered", "celebamask_hq"]

    alone = table([results["c"]], ["miou_after", "eea"])
    assert alone is not None and alone.notes[:-1] == ("mIoU after: measured on test faces of celebamask_hq.",)
    anew = make(tmp_path, "anew", metrics=named(0.8, dataset="celebamask_hq", dataset_digest="f" * 64))
    twice = table([results["c"], anew], ["miou_after"])
    assert twice is not None and "different preparations of celebamask_hq" in twice.notes[0]
    assert not any(line.cells[0].best for line in twice.lines)


def test_nothing_to_show(tmp_path: Path) -> None:
    assert table([make(tmp_path, metrics={})], ["eea", "fid"]) is None


def test_directions_agree_with_the_metrics_own() -> None:
    checked = 0
    for module in pkgutil.iter_modules(mimik.evaluation.metrics.__path__):
        better = importlib.import_module(f"mimik.evaluation.metrics.{module.name}").HIGHER_IS_BETTER
        for name, higher in better.items():
            if name in MEASURES and MEASURES[name].direction:
                assert (MEASURES[name].direction == "up") is higher, name
                checked += 1
    assert checked >= 15
