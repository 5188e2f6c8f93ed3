"""What a method's guides make of its edits: depth maps, normals or label maps of test faces and of their edits."""

from collections.abc import Sequence

import numpy as np

from mimik.reporting.mosaics import Cell, Mosaic, Strip, enlargement_note
from mimik.reporting.plotting import Absent, Drawing, listed
from mimik.reporting.results import ReportSettings, Result

TITLE = "Maps of the edits"
CAPTION = (
    "{count} test faces, their edits by {method}, and the maps of both that its guidance ({guides}) draws, by the "
    "networks that were trained with the generator. {truth}The faces were drawn when the test split was translated, "
    "without regard to any score. {pixels}."
)
PAGES = frozenset({"method"})


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """Rows are faces with a target each; columns the input, the edit and their maps."""
    result = results[0]
    found = result.guided_maps()
    if found is None:
        return Absent(f"no maps of edits by {result.method} were stored: it has no guidance that draws any")
    count = min(settings.rows, len(found.rows))
    titles = [name for _, name in found.panels]
    mosaic = Mosaic(["input", "edit", *titles], result.size, separated=(1,), title=f"Maps of edits by {result.method}")
    for face, (row, target) in enumerate(zip(found.rows[:count], found.targets[:count], strict=True)):
        position = result.position_of(row)
        source = int(result.source_labels[position])
        arrow = f"{result.classes[source]} → " if source >= 0 else ""
        pictures = [result.store.images[row], result.translations[position, target], *found.images[:, face]]
        mosaic.strips.append(
            Strip([Cell(np.asarray(picture)) for picture in pictures], heading=f"{arrow}{result.classes[target]}")
        )
    svg, width = mosaic.svg()
    known = [name for name in titles if name.startswith("true ")]
    facts = {
        "count": count,
        "method": result.method,
        "guides": listed(list(dict.fromkeys(guide for guide, _ in found.panels))),
        "truth": f"'{listed(known)}' is what the dataset has for the input. " if known else "",
        "pixels": enlargement_note(result.size).capitalize(),
    }
    return Drawing(svg, width, facts)
