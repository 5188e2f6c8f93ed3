from pathlib import Path

import numpy as np

from mimik.reporting.figures.difference_maps import CAPTION, colour_map, coloured, difference, draw
from mimik.reporting.plotting import Drawing
from mimik.reporting.results import ReportSettings
from tests.results_world import CLASSES, embedded_images, make, make_store


def test_difference_is_the_mean_over_channels() -> None:
    source = np.full((2, 2, 3), 100, np.uint8)
    output = source.copy()
    output[0, 0] = (90, 100, 130)  # |-10| + 0 + 30
    np.testing.assert_allclose(difference(output, source), [[40 / 3, 0], [0, 0]])


def test_scale_is_fixed_and_saturates() -> None:
    table = np.stack([np.arange(256)] * 3, axis=1).astype(np.uint8)
    shown = coloured(np.array([[0.0, 32.0, 64.0, 200.0]]), 64, table)
    assert shown[0, :, 0].tolist() == [0, 128, 255, 255]


def test_colour_map_grows_in_lightness() -> None:
    luminance = colour_map().astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) >= -0.5).all() and luminance[0] < 5 and luminance[-1] > 240


def test_maps_show_the_change_of_each_target(tmp_path: Path) -> None:
    make_store(tmp_path, truth=True)
    made = draw([make(tmp_path, shift=32)], ReportSettings(rows=1, ids=("face00",), difference_maximum=64))
    assert isinstance(made, Drawing)
    maps, truth, _ = embedded_images(made.svg)
    table = colour_map()
    middles = [128 + 14 + t * (128 + 4) + 64 for t in range(len(CLASSES))]
    # face 0 is black, target t is the grey 32 t: changes of 0, 32 and 64 levels on a scale that ends at 64
    assert [maps[64, x, :3].tolist() for x in middles] == [table[i].tolist() for i in (0, 128, 255)]
    assert [truth[64, x, :3].tolist() for x in middles] == [table[255].tolist()] * 3
    caption = CAPTION.format(**made.facts)
    assert "64 or more" in caption and "true edit" in caption
