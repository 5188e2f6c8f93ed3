import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from mimik.reporting.mosaics import GAP, LONG, Cell, Mosaic, Strip, data_uri, enlargement, enlargement_note
from tests.results_world import embedded_images

SIZE = 32


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize(("size", "factor"), [(16, 8), (64, 2), (96, 1), (128, 1), (256, 1)])
def test_enlargement_is_whole_and_never_shrinks(size: int, factor: int) -> None:
    assert enlargement(size) == factor
    assert ("repeated" in enlargement_note(size)) == (factor > 1)
    assert ("shown at 128 px" in enlargement_note(size)) == (size > 128)


def test_pixels_survive_embedding_exactly_each_repeated() -> None:
    first, second = picture(0), picture(1)
    svg, _ = Mosaic(["input", "anger"], SIZE, [Strip([Cell(first), Cell(second)])], separated=()).svg()
    (row,) = embedded_images(svg)
    factor = enlargement(SIZE)
    cell = SIZE * factor
    assert row.shape == (cell, 2 * cell + GAP, 4)
    np.testing.assert_array_equal(row[::factor, :cell:factor, :3], first)
    np.testing.assert_array_equal(row[factor - 1 :: factor, factor - 1 : cell : factor, :3], first)
    np.testing.assert_array_equal(row[::factor, cell + GAP :: factor, :3], second)
    assert (row[:, cell : cell + GAP, 3] == 0).all()  # gaps let the page's ground through


def test_gaps_in_a_strip_stay_empty() -> None:
    svg, _ = Mosaic(["a", "b"], SIZE, [Strip([None, Cell(picture(0))])], separated=()).svg()
    (row,) = embedded_images(svg)
    assert (row[:, : SIZE * enlargement(SIZE), 3] == 0).all() and (row[:, -1, 3] == 255).all()


def test_labels_are_text_and_escaped() -> None:
    svg, width = Mosaic(["a < b"], SIZE, [Strip([Cell(picture(0))], label="R&D", emphasised=True)], title="<t>").svg()
    root = ElementTree.fromstring(svg)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["a < b", "R&D"]
    assert float(root.attrib["viewBox"].split()[2]) == pytest.approx(width, abs=1)


def test_a_heading_stands_between_its_row_and_the_one_before() -> None:
    strips = [Strip([Cell(picture(0))]), Strip([Cell(picture(1))], spaced=True, heading="AU12 & more")]
    root = ElementTree.fromstring(Mosaic(["a"], SIZE, strips).svg()[0])
    first, second = ((float(row.attrib["y"]), float(row.attrib["height"])) for row in root if row.tag.endswith("image"))
    (heading,) = (text for text in root if text.text == "AU12 & more")
    assert sum(first) + 8 < float(heading.attrib["y"]) < second[0]


@pytest.mark.parametrize(("rows", "times"), [(LONG, 1), (LONG + 2, 2)])
def test_long_grids_name_their_columns_again_above_every_group(rows: int, times: int) -> None:
    strips = [Strip([Cell(picture(0))], spaced=row in (0, rows // 2)) for row in range(rows)]
    root = ElementTree.fromstring(Mosaic(["anger"], SIZE, strips).svg()[0])
    heads = [float(text.attrib["y"]) for text in root if text.text == "anger"]
    tops = [float(row.attrib["y"]) for row in root if row.tag.endswith("image")]
    groups = (tops[0], tops[rows // 2])
    assert len(heads) == times and all(0 < top - head < 12 for head, top in zip(heads, groups, strict=False))


def test_only_outlined_cells_have_a_frame() -> None:
    cells = [Cell(picture(0)), Cell(picture(1), outlined=True), None]
    svg, _ = Mosaic(["a", "b", "c"], SIZE, [Strip(cells)]).svg()
    assert svg.count("stroke-dasharray") == 1


def test_legend_wraps_inside_the_width() -> None:
    legend = [(f"class number {index}", (index, 0, 0)) for index in range(12)]
    mosaic = Mosaic(["a", "b"], SIZE, [Strip([Cell(picture(0)), Cell(picture(1))])], legend=legend)
    root = ElementTree.fromstring(mosaic.svg()[0])
    width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
    swatches = list(root.iter("{http://www.w3.org/2000/svg}rect"))
    assert len(swatches) == 12
    assert len({swatch.attrib["y"] for swatch in swatches}) > 1
    assert all(float(s.attrib["x"]) < width and float(s.attrib["y"]) + 12 <= height for s in swatches)


def test_colour_scale_shows_the_whole_table() -> None:
    table = np.stack([np.arange(256)] * 3, axis=1).astype(np.uint8)
    svg, _ = Mosaic(["a"], SIZE, [Strip([Cell(picture(0))])], scale=(table, ("0", "32", "64"))).svg()
    bar = embedded_images(svg)[-1]
    np.testing.assert_array_equal(bar[0, :, :3], table)
    assert all(f">{word}</text>" in svg for word in ("0", "32", "64"))


def test_large_images_are_compressed_with_little_loss() -> None:
    ramp = np.tile(np.linspace(0, 255, 256).astype(np.uint8)[:, None, None], (1, 256, 3))
    (decoded,) = embedded_images(f'href="{data_uri(ramp)}"')
    assert np.abs(decoded[..., :3].astype(int) - ramp).max() <= 8
    (exact,) = embedded_images(f'href="{data_uri(ramp, lossless=True)}"')
    np.testing.assert_array_equal(exact[..., :3], ramp)
