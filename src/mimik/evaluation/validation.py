"""The judge of a validation while training (`mimik.training.validation`): the evaluating classifier on faces of `val`.

Measures are those of the evaluation, on the sample of `val` and without intervals; all faces of `val` with a label are
the real ones. Docs: docs/methods.md#validation-while-training.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mimik.errors import UserError
from mimik.evaluation.extractors import open_classifier
from mimik.evaluation.metrics.eea import hits
from mimik.evaluation.metrics.kid import squared_mmd
from mimik.evaluation.metrics.outside_change import outside_of_parts, region_changes
from mimik.faces.prepared.store import FaceStore
from mimik.training.batches import to_tensor
from mimik.training.devices import pick_device

Array = npt.NDArray[Any]

BATCH = 64
"""Images per call of the classifier."""

REAL_FACES = 256
"""Maximum number of real faces of a class; the first ones."""


class ValidationJudge:
    """A `mimik.training.validation.Judge`.

    Attributes:
        name, sha256: of the classifier.
        unedited: by class, the kernel distance between the sample's faces of the other classes, not edited, and real
            faces of the class. Only classes where it is positive have a relative distance.
    """

    def __init__(self, directory: Path | str, store: FaceStore, rows: npt.NDArray[np.int64]) -> None:
        """Open the classifier and measure the unedited faces.

        Args:
            directory: of the classifier.
            store: the prepared dataset.
            rows: of the sample, all with a label.

        Raises:
            UserError: the classifier does not fit, or on its features faces of no class differ from those of others.
        """
        classifier = open_classifier(directory, store, (), pick_device())
        self.name, self.sha256 = classifier.name, classifier.sha256
        self._classifier, self._store, self._rows = classifier, store, rows
        labels = store.labels()
        self._labels = labels[rows]
        val = store.rows("val")
        self._real = {
            name: self._outputs(store.images[members])["features"]
            for index, name in enumerate(store.classes)
            if len(members := val[labels[val] == index][:REAL_FACES]) > 1
        }
        unedited = self._outputs(store.images[rows])["features"]
        distances = self._distances(
            np.broadcast_to(unedited[:, None], (len(rows), len(store.classes), *unedited.shape[1:]))
        )
        self.unedited = {name: value for name, value in distances.items() if value > 0}
        if not self.unedited:
            raise UserError(
                f"{directory}: on its features the faces of `val` in {store.directory} differ in no class from those "
                "of the others, so nothing can be validated. Train the classifier longer, raise "
                "training.validation_faces, or set training.validate_every to 0."
            )

    def __call__(self, edits: Array) -> dict[str, Any]:
        """Measures of the edits uint8 (N, C, S, S, 3) of the sample.

        Returns:
            `score`: mean of the mean relative distance and of the share of edits that are not recognised, 1 - `eea`; 0
            is perfect, unedited faces have about 1. `worst`: the largest relative distance. `relative_distance` and
            `eea_per_class`: by class. `eea`: mean over the classes. `outside_change`: where there are masks.
        """
        pairs = edits.shape[:2]
        outputs = self._outputs(edits.reshape(-1, *edits.shape[2:]))
        measured = self._distances(outputs["features"].reshape(*pairs, -1))
        relative = {name: measured[name] / value for name, value in self.unedited.items()}
        right, other = hits(outputs["logits"].reshape(*pairs, -1).argmax(-1)), self._other
        accuracy = {
            name: float(right[other[:, index], index].mean())
            for index, name in enumerate(self._store.classes)
            if other[:, index].any()
        }
        eea = float(np.mean(list(accuracy.values())))
        found = {
            "score": (float(np.mean(list(relative.values()))) + 1 - eea) / 2,
            "worst": max(relative.values()),
            "relative_distance": relative,
            "eea": eea,
            "eea_per_class": accuracy,
        }
        return found if self._store.masks is None else {**found, "outside_change": self._outside_change(edits)}

    @property
    def _other(self) -> npt.NDArray[np.bool_]:
        """bool (N, C): the pairs whose target is not the source class."""
        other: npt.NDArray[np.bool_] = self._labels[:, None] != np.arange(len(self._store.classes))
        return other

    @torch.inference_mode()
    def _outputs(self, images: Array) -> dict[str, Array]:
        """Features and logits of images uint8 (M, S, S, 3)."""
        parts: dict[str, list[Array]] = {"features": [], "logits": []}
        for start in range(0, len(images), BATCH):
            outputs = self._classifier.outputs(to_tensor(np.array(images[start : start + BATCH])))
            for name, found in parts.items():
                found.append(outputs[name].float().cpu().numpy())
        return {name: np.concatenate(found) for name, found in parts.items()}

    def _distances(self, features: Array) -> dict[str, float]:
        """By class: unbiased kernel distance of features (N, C, D) of the pairs of other faces to real faces."""
        return {
            name: squared_mmd(self._real[name], features[others, index])
            for index, name in enumerate(self._store.classes)
            if name in self._real and (others := self._other[:, index]).sum() > 1
        }

    def _outside_change(self, edits: Array) -> float:
        masks = self._store.masks
        assert masks is not None
        found = np.concatenate(
            [  # one by one: every region of every picture is large
                outside_of_parts(region_changes(self._store.images[[row]], edits[[index]], np.asarray(masks[[row]])))
                for index, row in enumerate(self._rows)
            ]
        )
        return float(found[self._other & np.isfinite(found)].mean())
