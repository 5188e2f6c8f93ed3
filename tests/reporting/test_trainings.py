"""Trainings of a method as one result: who is averaged, with which interval, and when two methods differ."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from mimik.reporting.measures import NO_BEST, table
from mimik.reporting.overview import BEGIN, END, write_systems
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.tables import paired
from mimik.reporting.tabular import Table
from mimik.reporting.trainings import difference, gather, read_trainings, told
from mimik.statistics import bootstrap
from tests.results_world import FACES, make, metric

FACE = np.linspace(10, 30, FACES)
"""Scores of the faces, which differ by far more than the methods do."""


def training(root: Path, name: str, shift: float, seed: int = 0, **config: Any) -> Result:
    """A training whose faces score `FACE` + `shift`, with a little noise of its own."""
    values = FACE + shift + 0.1 * np.random.default_rng(seed + len(name)).normal(size=FACES)
    mean = float(values.mean())
    result = make(root, name, metrics={"truth_psnr": metric(mean, 3.0), "fid": {"value": 40 - shift}})
    arrays = {
        "truth_psnr/sums": values[:, None].astype(np.float32),
        "truth_psnr/counts": np.ones((FACES, 1), np.float32),
    }
    save_file(arrays, result.directory / "per_face.safetensors")
    edit(result, "config.json", **config)
    edit(result, "metrics.json", seed=seed)
    return read_trainings(result.directory, result.store_directory).trainings[0]


def edit(result: Result, file: str, **changes: Any) -> None:
    path = result.directory / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def method(root: Path, name: str, *shifts: float) -> Result:
    names = [name, *(f"{name}@{number}" for number in range(2, len(shifts) + 1))]
    return gather(
        [training(root, one, shift, seed) for seed, (one, shift) in enumerate(zip(names, shifts, strict=True))]
    )[0]


def test_trainings_are_averaged_and_each_is_there_alone(tmp_path: Path) -> None:
    result = method(tmp_path, "stargan", 0.0, 1.0, 2.0)
    values = [one.metric("truth_psnr").value for one in result.trainings]  # type: ignore[union-attr]
    mean = result.metric("truth_psnr")
    assert mean is not None and mean.value == pytest.approx(np.mean(values)) and mean.trainings == 3
    assert mean.between == pytest.approx(np.std(values, ddof=1)) and result.seeds == [0, 1, 2]
    assert [one.method for one in result.trainings] == ["stargan", "stargan@2", "stargan@3"]
    assert all(one.further == () and one.trainings == (one,) for one in result.trainings)
    # Over faces: the same faces drawn for all trainings. Then the trainings' part, at both ends.
    weights = bootstrap.resamples(FACES, 1000, 0)
    drawn = np.mean([weights @ one.per_face["truth_psnr"][0][:, 0] / FACES for one in result.trainings], axis=0)
    faces = np.quantile(drawn, [0.025, 0.975])
    half = 4.3027 * mean.between / np.sqrt(3)
    assert mean.interval is not None
    assert mean.value - mean.interval[0] == pytest.approx(np.hypot(mean.value - faces[0], half), rel=1e-4)
    assert mean.interval[1] - mean.value == pytest.approx(np.hypot(faces[1] - mean.value, half), rel=1e-4)
    fid = result.metric("fid")
    assert fid is not None and fid.interval == pytest.approx(
        (39 - 4.3027 / np.sqrt(3), 39 + 4.3027 / np.sqrt(3)), rel=1e-4
    )


def test_one_training_is_read_as_ever(tmp_path: Path) -> None:
    alone = training(tmp_path, "stargan", 0.0)
    (gathered,) = gather([alone])
    assert gathered.metrics == alone.metrics and gathered.metric("truth_psnr").trainings == 1  # type: ignore[union-attr]


def test_what_differs_is_not_averaged(tmp_path: Path) -> None:
    first = training(tmp_path, "stargan", 0.0)
    second = training(tmp_path, "stargan@2", 1.0, 1)
    longer = training(tmp_path, "stargan@3", 1.0, 2, training={"steps": 7})
    orphan = training(tmp_path, "icgan@2", 1.0, 1)
    found = gather([orphan, longer, second, first])
    assert [result.method for result in found] == ["icgan@2", "stargan", "stargan@3"]
    assert [len(result.trainings) for result in found] == [1, 2, 1]


def test_what_only_some_trainings_have_is_no_mean(tmp_path: Path) -> None:
    first, second = training(tmp_path, "stargan", 0.0), training(tmp_path, "stargan@2", 1.0, 1)
    second.record["metrics"]["fid"] = {"skipped": "put the weights there"}  # type: ignore[index]
    found = gather([first, second])[0].metric("fid")
    assert found is not None and found.value is None
    assert found.skipped == "measured for 1 of 2 trainings: put the weights there"


def test_parts_are_averaged(tmp_path: Path) -> None:
    first, second = training(tmp_path, "stargan", 0.0), training(tmp_path, "stargan@2", 1.0, 1)
    for one, value in ((first, 0.2), (second, 0.4)):
        one.record["metrics"]["eea_per_class"] = {
            "value": {"anger": value},
            "ci": {"anger": [value - 0.1, value + 0.1]},
        }  # type: ignore[index]
    (anger,) = gather([first, second])[0].parts("eea_per_class").values()
    assert anger.value == pytest.approx(0.3) and anger.interval is not None
    assert anger.interval[1] - 0.3 == pytest.approx(np.hypot(0.1, 12.706 * 0.1), rel=1e-3)


def test_a_difference_is_decided_by_trainings_not_by_faces(tmp_path: Path) -> None:
    worse, better = method(tmp_path, "a", 0.0, 0.1, 0.2), method(tmp_path, "b", 2.0, 2.1, 2.2)
    noisy = method(tmp_path, "c", 1.0, -0.5, 1.5)
    clear, unclear = difference(worse, better, "truth_psnr"), difference(worse, noisy, "truth_psnr")
    assert clear is not None and clear.decided and clear.trainings == 3 and clear.verdict == "decided with 3 seeds"
    assert (
        clear.value == pytest.approx(2, abs=0.1) and clear.between is not None and clear.between < 0.1
    )  # paired by seed
    assert unclear is not None and not unclear.decided and unclear.seeds is not None and unclear.seeds > 3
    assert unclear.verdict == f"undecided; about {unclear.seeds} seeds would decide it"
    # Over faces alone, the first trainings would be told apart.
    single = difference(worse.trainings[0], noisy.trainings[0], "truth_psnr")
    assert single is not None and single.interval is not None and single.interval[0] > 0.5
    assert not single.decided and single.seeds is None and "unknown" in single.verdict
    fid = difference(worse, better, "fid")
    assert fid is not None and fid.value == pytest.approx(-2) and fid.decided
    assert difference(worse, better, "kid") is None


def test_a_metric_of_different_faces_gives_no_difference(tmp_path: Path) -> None:
    pair = [make(tmp_path, name, metrics={"miou_after": metric(0.5, dataset_digest=name)}) for name in ("a", "b")]
    assert difference(*pair, "miou_after") is None and difference(pair[0], pair[0], "miou_after") is not None
    elsewhere = make(tmp_path, "c", dataset="others", metrics={"miou_after": metric(0.5)})
    assert difference(pair[0], elsewhere, "miou_after") is None


def test_trainings_without_a_partner_are_left_out_of_a_difference(tmp_path: Path) -> None:
    found = difference(method(tmp_path, "a", 0.0, 0.1, 9.0), method(tmp_path, "b", 2.0, 2.1), "truth_psnr")
    assert found is not None and found.trainings == 2 and found.value == pytest.approx(2, abs=0.1)


def test_only_what_is_decided_is_bold(tmp_path: Path) -> None:
    results = [
        method(tmp_path, "a", 0.0, 0.1, 0.2),
        method(tmp_path, "b", 2.0, 2.1, 2.2),
        method(tmp_path, "c", 1.0, 2.9, 2.0),
    ]
    made = table(results, ["truth_psnr", "fid"])
    assert made is not None
    assert [line.cells[0].best for line in made.lines] == [False, True, True]  # c is not decided to be worse than b
    assert made.notes == (told(results),) and "3 trainings (seeds 0, 1, 2)" in made.notes[0]
    single = table([result.trainings[0] for result in results], ["truth_psnr", "fid"])
    assert single is not None and not any(cell.best for line in single.lines for cell in line.cells)
    assert "do not contain the noise of training" in single.notes[0] and single.notes[0].endswith(NO_BEST)


def test_the_paired_table_says_how_many_seeds_it_takes(tmp_path: Path) -> None:
    results = [
        method(tmp_path, "a", 0.0, 0.1, 0.2),
        method(tmp_path, "b", 2.0, 2.1, 2.2),
        method(tmp_path, "c", 1.0, -0.5, 1.5),
    ]
    made = paired.build(results, ReportSettings())
    assert isinstance(made, Table) and made.notes == ()
    clear, unclear = (line.cells[0] for line in made.lines)
    found = difference(results[0], results[2], "truth_psnr")
    assert found is not None and unclear.below == f"{found.seeds} seeds" and not unclear.best
    assert clear.best and not clear.below
    once = paired.build([result.trainings[0] for result in results], ReportSettings())
    assert isinstance(once, Table) and once.notes == (paired.ONE,)
    assert not any(cell.best or cell.below for line in once.lines for cell in line.cells)


def test_the_readme_has_one_row_for_all_trainings_of_a_method(tmp_path: Path) -> None:
    result = method(tmp_path, "stargan", 0.0, 1.0)
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    write_systems(readme, [one.directory for one in result.trainings], result.store_directory)
    text = readme.read_text()
    assert text.count("| stargan") == 1 and "Means over 2 trainings (seeds 0, 1)" in text
    mean = result.metric("truth_psnr")
    assert mean is not None and mean.interval is not None
    assert f"{mean.value:.2f} ({mean.interval[0]:.2f} to {mean.interval[1]:.2f})".replace("-", "−") in text
