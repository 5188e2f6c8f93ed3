"""One picture with the faces of a folder of photographs, before and after."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimik.cli import main
from mimik.editing import gallery
from mimik.errors import UserError
from mimik.faces import alignment
from mimik.storage import provenance
from tests.editing.models import make_model

pytestmark = pytest.mark.slow

pytest.importorskip("mediapipe")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    from skimage.data import astronaut

    folder = tmp_path / "photographs"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(astronaut()).save(folder / "b.png")
    Image.fromarray(astronaut()[:, ::-1]).save(folder / "more" / "c.png")
    Image.new("RGB", (300, 300), (90, 90, 90)).save(folder / "a_wall.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_gallery_has_a_row_for_every_photograph_with_a_face(
    tmp_path: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, output = make_model(tmp_path / "model"), photographs / "gallery.png"
    command = ["gallery", str(photographs), "--model", str(model), "-o", str(output)]
    main(command)
    told = capsys.readouterr()
    assert "2 photograph(s)" in told.out
    assert [line.split(":")[1].strip() for line in told.err.splitlines() if line.startswith("skipped")] == [
        str(photographs / "a_wall.png"),
        str(photographs / "notes.txt"),
    ]
    assert provenance.MARK.encode() in output.read_bytes()
    with Image.open(output) as opened:
        first = np.asarray(opened)
    assert first.shape == (24 + 2 * 260 - 4, 4 * 260 - 4, 3)
    editor = gallery.PhotographEditor(model)
    seen = gallery.read(photographs / "b.png").seen
    face = editor.faces(seen)[0]
    np.testing.assert_array_equal(first[24:280, :256], alignment.crop(seen, face.transform, 256))
    assert (first[24:280, 260:516] != first[24:280, :256]).any()
    main(command)  # the earlier gallery is no photograph of the folder
    with Image.open(output) as opened:
        np.testing.assert_array_equal(np.asarray(opened), first)
    main([*command, "--most", "1"])
    with Image.open(output) as opened:
        assert opened.size == (4 * 260 - 4, 280)


def test_faults_are_told_by_name(tmp_path: Path, photographs: Path) -> None:
    model = make_model(tmp_path / "model")
    relative = make_model(tmp_path / "relative", form="relative")
    (tmp_path / "empty").mkdir()
    (tmp_path / "letter.png").write_text("mine")
    for folder, which, output, options, message in (
        (tmp_path / "none", model, "out.png", {}, "expected a folder of photographs"),
        (tmp_path / "empty", model, "out.png", {}, "no file in it is a picture with a face"),
        (photographs, relative, "out.png", {}, "--from"),
        (photographs, model, "out.png", {"most": 0}, "--most 0"),
        (photographs, model, "letter.png", {}, "was not written by mimik"),
    ):
        with pytest.raises(UserError, match=message):
            gallery.run(folder, which, tmp_path / output, **options)
    assert not (tmp_path / "out.png").exists()
