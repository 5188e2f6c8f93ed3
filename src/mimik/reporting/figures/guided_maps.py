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
    order = {of: [index for index, panel in enumerate(found.panels) if panel[1] == of] for of in ("input", "edit")}
    titles = {of: [found.panels[index][2] for index in indices] for of, indices in order.items()}
    columns = ["input", *titles["input"], "edit", *titles["edit"]]
    mosaic = Mosaic(columns, result.size, separated=(len(titles["input"]),), title=f"Maps of edits by {result.method}")
    for face, (row, target) in enumerate(zip(found.rows[:count], found.targets[:count], strict=True)):
        position = result.position_of(row)
        source = int(result.source_labels[position])
        arrow = f"{result.classes[source]} → " if source >= 0 else ""
        maps = {of: [found.images[index, face] for index in indices] for of, indices in order.items()}
        pictures = [result.store.images[row], *maps["input"], result.translations[position, target], *maps["edit"]]
        mosaic.strips.append(
            Strip([Cell(np.asarray(picture)) for picture in pictures], heading=f"{arrow}{result.classes[target]}")
        )
    svg, width = mosaic.svg()
    known = [name for name in titles["input"] if name.startswith("true ")]
    facts = {
        "count": count,
        "method": result.method,
        "guides": listed(list(dict.fromkeys(guide for guide, *_ in found.panels))),
        "truth": f"'{listed(known)}' is what the dataset has for the input. " if known else "",
        "pixels": enlargement_note(result.size).capitalize(),
    }
    return Drawing(svg, width, facts)
