import json
from pathlib import Path

import numpy as np
import pytest

from mimik.errors import UserError
from mimik.reporting.results import ReportSettings, read_result
from mimik.reporting.shown import choose_rows, true_targets
from mimik.settings.configuration import build
from tests.results_world import CLASSES, FACES, SIZE, make, make_result, make_store, metric


def test_scalar_metrics_are_read_with_their_interval(tmp_path: Path) -> None:
    result = make(tmp_path, metrics={"eea": metric(0.9, 0.02), "fid": {"skipped": "put weights there"}, "n": 3})
    measured = result.metric("eea")
    assert measured is not None and measured.value == 0.9 and measured.interval == (0.88, 0.92)
    skipped = result.metric("fid")
    assert skipped is not None and skipped.value is None and skipped.skipped == "put weights there"
    assert result.metric("kid") is None and result.metric("n") is None


def test_metrics_in_pieces(tmp_path: Path) -> None:
    metrics = {
        "eea_per_class": {"value": {"neutral": 1, "anger": None}, "ci": {"neutral": [0.9, 1.0], "anger": None}},
        "preservation_error": metric(0.1, per_class={"anger": 0.2}),
    }
    result = make(tmp_path, metrics=metrics)
    pieces = result.parts("eea_per_class")
    assert list(pieces) == ["neutral"]
    assert pieces["neutral"].value == 1.0 and pieces["neutral"].interval == (0.9, 1.0)
    (piece,) = result.parts("preservation_error", "per_class").values()
    assert piece.value == 0.2 and piece.interval is None  # the interval of the whole is not that of a piece
    assert result.parts("preservation_error") == {} and result.parts("absent") == {}


def test_baselines_go_by_either_name(tmp_path: Path) -> None:
    result = make(
        tmp_path, metrics={"copy_truth_psnr": metric(20), "au_error_copy": metric(2), "au_error_truth": metric(1)}
    )
    assert result.baseline("Copy the input", "truth_psnr").value == 20  # type: ignore[union-attr]
    assert result.baseline("Copy the input", "au_error").value == 2  # type: ignore[union-attr]
    assert result.baseline("True target", "au_error").value == 1  # type: ignore[union-attr]
    assert result.baseline("True target", "truth_psnr") is None


def test_translations_must_fit_their_manifest(tmp_path: Path) -> None:
    result = make(tmp_path)
    assert result.translations.shape == (FACES, 3, SIZE, SIZE, 3)
    np.save(result.directory / "translations" / "images.npy", np.zeros((2, 3, SIZE, SIZE, 3), np.uint8))
    with pytest.raises(UserError, match=r"images\.npy.*manifest states"):
        _ = read_result(result.directory, result.store_directory).translations


@pytest.mark.parametrize("key", ["dataset", "scale", "metrics"])
def test_metrics_without_identification_are_refused(tmp_path: Path, key: str) -> None:
    store, directory = make_store(tmp_path), make_result(tmp_path)
    record = json.loads((directory / "metrics.json").read_text())
    del record[key]
    (directory / "metrics.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=f"metrics.json: lacks `{key}`"):
        read_result(directory, store)


def test_rows_take_expressions_in_turn_and_new_people_first(tmp_path: Path) -> None:
    result = make(tmp_path)
    rows = choose_rows([result], 6, seed=3)
    assert len(set(rows)) == 6
    assert [row % 3 for row in rows] == [0, 1, 2, 0, 1, 2]
    assert len({row // 2 for row in rows[:3]}) == 3
    assert rows == choose_rows([result], 6, seed=3)
    assert len({tuple(choose_rows([result], 6, seed=seed)) for seed in range(5)}) > 1
    assert sorted(choose_rows([result], 100, seed=0)) == list(range(FACES))


def test_rows_do_not_depend_on_the_pictures(tmp_path: Path) -> None:
    good, bad = make(tmp_path, "good", shift=1), make(tmp_path, "bad", shift=90)
    assert choose_rows([good], 5, seed=1) == choose_rows([bad], 5, seed=1) == choose_rows([bad, good], 5, seed=1)


def test_rows_are_common_to_all_results(tmp_path: Path) -> None:
    whole, part = make(tmp_path, "whole"), make(tmp_path, "part")
    part.manifest["rows"] = [4, 7, 9]
    part.manifest["source_labels"] = [1, 1, 0]
    assert sorted(choose_rows([whole, part], 8, seed=0)) == [4, 7, 9]
    assert part.position_of(9) == 2
    with pytest.raises(ValueError, match="row 5"):
        part.position_of(5)


def test_rows_by_id(tmp_path: Path) -> None:
    result = make(tmp_path)
    assert choose_rows([result], 8, 0, ("face07", "face02")) == [7, 2]
    with pytest.raises(UserError, match=r"report\.ids: nobody"):
        choose_rows([result], 8, 0, ("nobody",))


def test_true_targets_of_rows_in_any_order(tmp_path: Path) -> None:
    make_store(tmp_path, truth=True)
    truth = true_targets(make(tmp_path), [3, 1])
    assert truth is not None and truth.shape == (2, len(CLASSES), SIZE, SIZE, 3)
    assert [[int(image.mean()) for image in face] for face in truth] == [[197, 198, 199], [199, 200, 201]]


def test_no_truth_in_the_store(tmp_path: Path) -> None:
    assert true_targets(make(tmp_path, dataset="folder"), [0]) is None


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"difference_maximum": 0}, {"smoothing": 1.0}, {"figurs": []}])
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match="report: "):
        build(ReportSettings, wrong, "report")
