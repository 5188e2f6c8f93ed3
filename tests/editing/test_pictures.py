"""Edits as image files for OpenFace."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimik.editing.cards import Terms
from mimik.editing.pictures import write_edits
from mimik.errors import UserError
from tests.results_world import make

TERMS = Terms(False, "", "CC0", "Nobody 2020")


def test_every_edit_and_every_face_is_a_picture_of_its_pixels(tmp_path: Path) -> None:
    result = make(tmp_path)
    folder = tmp_path / "data/openface/rendered/stargan"
    write_edits(result.directory, result.store_directory, folder, TERMS, overwrite=False)
    images = result.optional("images.npy")
    assert images is not None
    identifiers = result.store.table["id"].iloc[result.rows].tolist()
    for face, identifier in enumerate(identifiers):
        own = np.asarray(Image.open(folder / "faces" / f"{identifier}.png"))
        assert (own == result.store.images[result.rows[face]]).all()
        for column, target in enumerate(result.classes):
            assert (np.asarray(Image.open(folder / target / f"{identifier}.png")) == images[face, column]).all()
    assert len(list(folder.glob("*/*.png"))) == len(identifiers) * (len(result.classes) + 1)
    assert "CC0" in (folder / "LICENCE.txt").read_text()


def test_edits_of_other_translations_are_replaced_only_when_asked(tmp_path: Path) -> None:
    result, folder = make(tmp_path), tmp_path / "edits"
    write_edits(result.directory, result.store_directory, folder, TERMS, overwrite=False)
    csv = folder / "faces" / "1.csv"
    csv.write_text("what OpenFace read")
    write_edits(result.directory, result.store_directory, folder, TERMS, overwrite=False)  # the same: goes on
    assert csv.exists()
    images = np.array(result.optional("images.npy"))
    np.save(result.directory / "translations" / "images.npy", 255 - images)
    with pytest.raises(UserError, match="other translations"):
        write_edits(result.directory, result.store_directory, folder, TERMS, overwrite=False)
    write_edits(result.directory, result.store_directory, folder, TERMS, overwrite=True)
    assert not csv.exists()  # it is about the earlier pictures
    identifier = result.store.table["id"].iloc[result.rows[0]]
    picture = np.asarray(Image.open(folder / result.classes[0] / f"{identifier}.png"))
    assert (picture == 255 - images[0, 0]).all()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    result = make(tmp_path)
    (tmp_path / "edits").mkdir()
    (tmp_path / "edits" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="already holds files"):
        write_edits(result.directory, result.store_directory, tmp_path / "edits", TERMS, overwrite=True)
