"""From the option `action_units` to the store and its manifest."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mimik.datasets.listing import Listing
from mimik.errors import UserError
from mimik.faces.action_units import extractors, geometric
from mimik.faces.action_units.extractors import STAGE, Choice, annotate
from mimik.faces.action_units.openface import INTENSITIES
from mimik.faces.landmarks import packages
from mimik.labels import ACTION_UNITS
from tests.faces.prepared.test_prepare import GOOD, archive, rendered, run  # noqa: F401  (archive is a fixture)


def listing(*sources: str, own: bool = False) -> Listing:
    table = pd.DataFrame({"id": [f"i{n}" for n in range(len(sources))], "source": sources})
    if own:
        table[list(ACTION_UNITS)] = 0.5
    return Listing(table, [("z.jpg", "listing", "unreadable")])


def openface_csv(path: Path, rows: dict[str, dict[str, Any]]) -> Path:
    whole = [{"image": image, "confidence": 0.9} | dict.fromkeys(INTENSITIES, 2.0) | row for image, row in rows.items()]
    pd.DataFrame(whole).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"action_units": "openpose"}, "choose one of none, geometric, openface"),
        ({"action_units": "openface"}, "openface_csv"),
        ({"action_units": "openface", "openface_csv": ""}, "openface_csv"),
        ({"action_units": "openface", "openface_csv": "a", "openface_confidence": 1.5}, "openface_confidence"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        Choice.of("folder", options, Path("raw"))


def test_the_csv_is_sought_in_the_raw_folder_unless_absolute(tmp_path: Path) -> None:
    options = {"action_units": "openface", "openface_csv": "au/all.csv"}
    path = tmp_path / "au" / "all.csv"
    with pytest.raises(UserError, match="no such file"):
        Choice.of("folder", options, tmp_path)
    path.parent.mkdir()
    path.touch()
    assert Choice.of("folder", options, tmp_path) == Choice("openface", path, 0.8)
    assert Choice.of("folder", options | {"openface_csv": str(path)}, Path("raw")).csv == path
    assert Choice.of("folder", {"action_units": "none"}, Path("raw")).extractor == "none"
    assert Choice.of("folder", {}, Path("raw")).extractor == "none"


def test_images_without_a_usable_row_are_quarantined_and_strangers_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: dict[str, dict[str, Any]] = {"a": {"AU12_r": 5}, "c": {"confidence": 0.2}, "stranger": {}}
    choice = Choice("openface", openface_csv(tmp_path / "all.csv", rows), 0.8)
    changed, origin = annotate(listing("x/a.jpg", "x/b.jpg", "x/c.jpg"), choice, "folder", False)
    assert changed.table["source"].tolist() == ["x/a.jpg"]
    assert changed.table.loc[0, "AU12"] == 1 and changed.table.loc[0, "AU01"] == pytest.approx(0.4)
    reasons = {path: (stage, reason) for path, stage, reason in changed.quarantine}
    assert reasons["z.jpg"][0] == "listing"
    assert reasons["x/b.jpg"] == (STAGE, "OpenFace has no row for the image")
    assert reasons["x/c.jpg"][0] == STAGE and "confidence 0.2" in reasons["x/c.jpg"][1]
    assert origin is not None
    record = origin.record()
    assert record["extractor"] == "openface" and record["version"] == "2" and len(record["csv_sha256"]) == 64
    assert record["images_without"] == 2 and record["first_rows_without_image"] == ["stranger"]
    assert "stranger" in capsys.readouterr().err


def test_a_csv_of_another_dataset_is_refused(tmp_path: Path) -> None:
    choice = Choice("openface", openface_csv(tmp_path / "all.csv", {"q": {}}), 0.8)
    with pytest.raises(UserError, match="none of the 2 images"):
        annotate(listing("a.jpg", "b.jpg"), choice, "folder", False)


def test_own_action_units_are_kept_and_never_replaced() -> None:
    none = Choice("none", None, 0.0)
    own = listing("a.jpg", own=True)
    assert annotate(own, none, "emotionet", False) == (own, extractors.Origin("annotated", "emotionet", {}))
    assert annotate(own, none, "synthetic", True)[1] == extractors.Origin("rendered", "", {})
    assert annotate(listing("a.jpg"), none, "folder", False)[1] is None
    with pytest.raises(UserError, match="two extractors must not be mixed"):
        annotate(own, Choice("geometric", None, 0.0), "emotionet", False)


def test_the_mesh_gives_every_photograph_action_units(archive: Path, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("mediapipe")
    store = run(archive, tmp_path, action_units="geometric", annotations=[], sizes=[64])
    units = store.action_units()
    assert units is not None and units.shape == (GOOD, 17) and units.dtype == np.float32
    assert np.isfinite(units).all() and units.min() >= 0 and units.max() <= 1
    assert units.std(axis=0).max() < 0.2  # one photograph, cut in twelve ways
    (mesh,) = packages("mediapipe", mesh=True)
    assert store.action_unit_extractor == f"geometric {geometric.version(mesh)}"
    assert mesh.startswith("mediapipe 0.10") and "yaw" in store.table


def test_openfaces_action_units_come_into_the_store(archive: Path, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("mediapipe")
    rows = {f"face{number:02d}": {"AU26_r": number / 4} for number in range(GOOD)} | {"noface": {}}
    rows["face03"]["success"] = 0
    csv = openface_csv(tmp_path / "all.csv", rows)
    frame = pd.read_csv(csv)
    frame["success"] = frame["success"].fillna(1)
    frame.to_csv(csv, index=False)
    store = run(archive, tmp_path, action_units="openface", openface_csv=str(csv), annotations=[], sizes=[64])
    units = store.action_units()
    assert units is not None and len(store) == GOOD - 1
    numbers = np.array([int(Path(source).stem[4:]) for source in store.table["source"]])
    assert 3 not in numbers
    assert np.allclose(units[:, ACTION_UNITS.index("AU26")], numbers / 20, atol=1e-4)
    assert store.action_unit_extractor == "openface 2"
    quarantine = pd.read_csv(store.directory / "quarantine.csv").set_index("path")
    assert quarantine.loc["face03.png", "stage"] == STAGE and quarantine.loc["noface.jpg", "stage"] == "landmarks"
    other = run(archive, tmp_path / "other", annotations=[], sizes=[64])
    assert other.action_units() is None and other.action_unit_extractor is None
    assert other.digest != store.digest


def test_rendered_faces_have_the_renderers(tmp_path: Path) -> None:
    assert rendered(tmp_path).action_unit_extractor == "rendered"
    with pytest.raises(UserError, match="of its own"):
        rendered(tmp_path / "second", action_units="geometric")
