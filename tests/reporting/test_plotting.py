import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from mimik.reporting.plotting import (
    GROUND,
    INK,
    SERIES,
    Drawing,
    colour,
    drawing,
    grouped_bars,
    listed,
    style,
    tinted_values,
    write,
)


def plot(title: str = "losses") -> Drawing:
    with style() as pyplot:
        figure, axis = pyplot.subplots(figsize=(3, 2))
        axis.plot([1, 2, 3], color=colour(0))
        axis.set_title(title)
        return drawing(figure, {"count": 3}, "A plot")


def test_plots_are_valid_svg_with_text_in_the_pages_font() -> None:
    made = plot()
    root = ElementTree.fromstring(made.svg)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "losses" in texts
    assert "DejaVu" not in made.svg and "<style" not in made.svg
    assert made.width == 288 and root.attrib["width"] == "288" and root.attrib["height"] == "192"
    assert made.facts == {"count": 3}


def test_ink_follows_the_page_and_series_do_not() -> None:
    svg = plot().svg
    assert "var(--ink" in svg and "var(--line" in svg
    assert re.search(f"stroke: {SERIES[0]}", svg)


def test_the_same_plot_gives_the_same_bytes_and_other_plots_other_ids() -> None:
    first, again, other = plot(), plot(), plot("accuracy")
    assert first.svg == again.svg
    ids = [set(re.findall(r'\bid="([^"]+)"', made.svg)) for made in (first, other)]
    assert ids[0] and not ids[0] & ids[1]
    used = set(re.findall(r"url\(#([^)]+)\)", first.svg))
    assert used and used <= ids[0]


def test_a_written_figure_needs_no_page(tmp_path: Path) -> None:
    write(plot(), tmp_path / "figure.svg")
    written = (tmp_path / "figure.svg").read_text()
    ElementTree.fromstring(written.split("\n", 1)[1])
    assert "var(" not in written and "currentColor" not in written and INK in written


def luminance(hexadecimal: str) -> float:
    channels = [int(hexadecimal[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("ground", [GROUND, "#14171b"])
def test_series_stand_out_from_light_and_dark_ground(ground: str) -> None:
    """WCAG contrast of at least 2 : 1 for marks (text is never set in these colours)."""
    for tint in SERIES:
        low, high = sorted((luminance(tint), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 2, tint


def test_bars_stand_where_their_group_is() -> None:
    with style() as pyplot:
        _, axis = pyplot.subplots()
        series = [("a", SERIES[0], {"x": (1.0, (0.5, 2.5)), "y": (2.0, None)}), ("b", SERIES[1], {"y": (3.0, None)})]
        grouped_bars(axis, ["x", "y"], series, 0)
        bars = [(round(bar.get_x() + bar.get_width() / 2, 3), bar.get_height()) for bar in axis.patches]
        assert bars == [(-0.185, 1.0), (0.815, 2.0), (1.185, 3.0)]
        assert [line.get_ydata().tolist() for line in axis.lines] == [[0.5, 2.5]]
        assert [text.get_text() for text in axis.texts] == ["1", "2", "3"]


def test_tinted_values_are_deeper_the_larger_and_empty_where_there_is_none() -> None:
    with style() as pyplot:
        _, axis = pyplot.subplots()
        series = [("a", SERIES[0], {"x": (5.0, (4.0, 6.0)), "y": (10.0, None)}), ("b", SERIES[1], {"y": (0.0, None)})]
        tinted_values(axis, ["x", "y"], series, 1)
        cells = [(patch.get_x() + 0.47, patch.get_y() + 0.47, round(patch.get_alpha(), 2)) for patch in axis.patches]
        np.testing.assert_allclose(cells, [(0, 0, 0.43), (1, 0, 0.8), (1, 1, 0.06)], atol=1e-9)
        assert [text.get_text() for text in axis.texts] == ["5.0", "10.0", "0.0"]
        assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]


def test_methods_are_named_until_there_are_many() -> None:
    assert listed(["a"]) == "a" and listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefgh")).endswith("g and h") and listed(list("abcdefghi")) == "9 methods"
