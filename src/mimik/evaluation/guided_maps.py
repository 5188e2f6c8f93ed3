"""Maps that the guides of a method draw of a few test faces and their edits: to look at, no metric uses them.

A depth network shows the geometry of an edit, the semantic branch the label map that it expects
(`mimik.training.guided.Drawing`). The faces and targets are those of the edits by strength
(`mimik.evaluation.continuous`), drawn without regard to any result.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mimik.components.conditions import Condition, stored_states
from mimik.faces.prepared.store import FaceStore
from mimik.storage.arrays import new_array, read_array
from mimik.training.batches import to_tensor
from mimik.training.guided import Drawing

Array = npt.NDArray[Any]
FILE = "guided_maps.npy"


@torch.inference_mode()
def write_guided_maps(
    output_dir: Path,
    guides: Mapping[str, Drawing],
    condition: Condition,
    store: FaceStore,
    translated: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    rows: Sequence[int],
    targets: Sequence[int],
    device: torch.device,
) -> list[dict[str, str]]:
    """Write `guided_maps.npy`, uint8 (M, P, S, S, 3): M maps of each of P faces and their edits; M is 0 without guides.

    The edits are those of `images.npy`, which lies in the same folder. True maps come first where the dataset has them.

    Args:
        output_dir: the folder of the translations.
        guides: by name, from `mimik.training.runs.load_guides`.
        condition: of the method.
        store: the prepared dataset.
        translated: rows of the translated faces, (N,).
        labels: their expressions, (N,); -1 where attributes are reversed.
        rows: rows of the P faces, each among those translated.
        targets: their targets, positions in `condition.edits`.
        device: to compute on.

    Returns:
        for the manifest: `guide` and `name` of each of the M maps, and what it is a map `of`: `input` or `edit`.
    """
    faces, wanted = np.array(rows, dtype=np.int64), np.array(targets, dtype=np.int64)
    panels: list[dict[str, str]] = []
    pictures: list[Array] = []
    if guides and len(faces):
        positions = np.searchsorted(translated, faces)
        edited = read_array(output_dir / "images.npy", "Translate again.")[positions, wanted]
        images, edits = to_tensor(store.images[faces], device), to_tensor(edited, device)
        source = stored_states(condition, store, faces).to(device)
        shown = torch.from_numpy(labels[positions]).to(device)
        target = condition.asked(source, shown, torch.from_numpy(wanted).to(device))
        for name, guide in guides.items():
            cast(nn.Module, guide).to(device).eval()
            truth = getattr(store, guide.shows)
            known = None if truth is None else np.asarray(truth[faces])
            true = {} if known is None or not known.any() else {f"true {guide.shows}": guide.draw_truth(known)}
            before, after = guide.draw(images, edits, source, target)
            for of, maps in (("input", {**true, **before}), ("edit", after)):
                for title, drawn in maps.items():
                    panels.append({"guide": name, "of": of, "name": title})
                    pictures.append(drawn)
    with new_array(output_dir / FILE, (len(panels), len(faces), store.size, store.size, 3)) as array:
        for index, picture in enumerate(pictures):
            array[index] = picture
    return panels
