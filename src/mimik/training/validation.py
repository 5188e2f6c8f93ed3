"""Validation while a method trains: what its edits of faces of `val` are worth, and the step at which they were best.

At every `validate_every`-th step and at the last one the generator, with averaged weights if the run averages, edits a
fixed sample of `val` to every class. A judge measures the edits; this module knows nothing of how. Neither the faces
nor what is drawn here depend on the run, and every update seeds its own random numbers, so that a training gives the
same weights with and without validation.

While the run lasts everything is kept beside its checkpoint, which holds the measures; of the generators there are the
best one so far and that of the last checkpoint. At the end `write` leaves in the result folder, under `validation`:
    validation.json             the rule, who judged, the faces, the measures of every step, the best step and the kept
    grid_<step>.png             rows of the first faces of the sample, columns of the input and the target classes
    generator_best.safetensors  the generator of the best step, in the form of generator.safetensors
Without validation there is only validation.json, without steps.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from mimik.components.conditions import stored_states
from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.storage.files import atomic_path, write_json
from mimik.storage.weights import read_safetensors, save_safetensors
from mimik.training.batches import balanced_subset, to_tensor, to_uint8
from mimik.training.schedule import TrainingConfig

Rows = npt.NDArray[np.int64]
Pictures = npt.NDArray[np.uint8]

FOLDER = "validation"
"""Folder of a run's checkpoints, and of a result."""

RECORD, BEST = "validation.json", "generator_best.safetensors"

RULE = (
    "The best step has the smallest score, the mean of the relative distance, averaged over the classes, and of the "
    "share of edits that are not recognised; of equal ones that with the smaller worst class, then the earlier."
)

GRID_ROWS = 8
"""Maximum number of faces in a grid."""

BATCH = 32
"""Edits per call of the generator."""


class Judge(Protocol):
    """Measures edits of the sample.

    Attributes:
        name, sha256: of the network that judges.
    """

    name: str
    sha256: str

    def __call__(self, edits: Pictures) -> dict[str, Any]:
        """Measures of edits uint8 (N, C, S, S, 3).

        A number or numbers by class by the name of a measure. `score` and `worst` are among them: the smaller, the
        better.
        """
        ...


class Validation:
    """The validation of one run.

    Attributes:
        entries: measures with their `step`, in order; part of the run's checkpoint.
    """

    def __init__(
        self,
        method: Any,
        store: FaceStore,
        config: TrainingConfig,
        judge: Callable[[FaceStore, Rows], Judge],
        directory: Path,
        seed: int,
    ) -> None:
        """Draw the sample and open the judge.

        Args:
            method: that is trained.
            store: the prepared dataset.
            config: its `validation_faces` and `keep` count.
            judge: opened with the dataset and the rows of the sample.
            directory: where grids and generators are kept during the run.
            seed: of the draw of faces.

        Raises:
            UserError: no face of `val` has a label, or the judge cannot judge.
        """
        labels, rows = store.labels(), store.rows("val")
        rows = rows[labels[rows] >= 0]
        if not len(rows):
            raise UserError(f"{store.directory / 'index.csv'}: no face of the split 'val' has an expression label.")
        self.rows = balanced_subset(rows, labels[rows], config.validation_faces, seed)
        self.method, self.store, self.config, self.directory, self.seed = method, store, config, directory, seed
        self.judge = judge(store, self.rows)
        self.entries: list[dict[str, Any]] = []

    def __call__(self, step: int) -> dict[str, Any]:
        """Validate the weights that are in place. Returns the new entry."""
        edits = self._edits()
        entry = {"step": step, **self.judge(edits)}
        self.entries.append(entry)
        with atomic_path(self.grid(step)) as temporary:
            Image.fromarray(self._drawn(edits)).save(temporary)
        if best(self.entries) is entry:
            save_safetensors(self._generator(step), self.method.generator_state())
        return entry

    def grid(self, step: int) -> Path:
        """The picture of a step."""
        return self.directory / grid_name(step)

    def saved(self) -> None:
        """Remove generators that no checkpoint needs any more: called when the entries are in the last one."""
        kept = self._generator(best(self.entries)["step"]) if self.entries else None
        for file in self.directory.glob("generator_*.safetensors"):
            if file != kept:
                file.unlink()

    def keep(self) -> int:
        """Put the generator that becomes the result into the method, as `keep` says. Returns its step."""
        step = int((best(self.entries) if self.config.keep == "best" else self.entries[-1])["step"])
        if self.config.keep == "best":
            self.method.load_generator_state(read_safetensors(self._generator(step), "Train the method again."))
        return step

    def write(self, output: Path, resolved: Mapping[str, Any]) -> None:
        """Leave everything in the result folder `output`; `resolved` is the config of the result."""
        folder, chosen = _emptied(output), best(self.entries)
        for entry in self.entries:
            with atomic_path(folder / grid_name(entry["step"])) as temporary:
                shutil.copyfile(self.grid(entry["step"]), temporary)
        state = read_safetensors(self._generator(chosen["step"]), "Train the method again.")
        save_safetensors(
            folder / BEST, state, metadata={"config": json.dumps({**resolved, "kept_step": chosen["step"]})}
        )
        write_json(
            folder / RECORD,
            {
                "rule": RULE,
                "judge": self.judge.name,
                "judge_sha256": self.judge.sha256,
                "ids": self.store.table["id"].iloc[self.rows].tolist(),
                "classes": self.store.classes,
                "best": chosen["step"],
                "kept": chosen["step"] if self.config.keep == "best" else self.entries[-1]["step"],
                "entries": self.entries,
            },
        )

    def remove(self) -> None:
        """Remove what was kept during the run."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _generator(self, step: int) -> Path:
        return self.directory / f"generator_{step:07d}.safetensors"

    @torch.no_grad()
    def _edits(self) -> Pictures:
        """Edits of the sample to every class, uint8 (N, C, S, S, 3); those to a face's own class too."""
        method, store, classes = self.method, self.store, len(self.store.classes)
        training = method.training
        method.eval()
        torch.manual_seed(self.seed)  # a condition may add noise; updates seed what they draw themselves
        device = next(method.parameters()).device
        states = stored_states(method.condition, store, self.rows)
        labels = torch.from_numpy(store.labels()[self.rows])
        edits = np.empty((len(self.rows), classes, store.size, store.size, 3), np.uint8)
        flat = edits.reshape(-1, *edits.shape[2:])
        for start in range(0, len(flat), BATCH):
            pairs = np.arange(start, min(start + BATCH, len(flat)))
            source = states[pairs // classes].to(device)
            shown, wanted = labels[pairs // classes].to(device), torch.from_numpy(pairs % classes).to(device)
            target = method.condition.asked(source, shown, wanted)
            images = to_tensor(store.images[self.rows[pairs // classes]], device)
            flat[pairs] = to_uint8(method.translate(images, source, target))
        method.train(training)
        return edits

    def _drawn(self, edits: Pictures) -> Pictures:
        """uint8 (faces * S, (1 + C) * S, 3): the input, then every edit."""
        shown = np.linspace(0, len(edits) - 1, min(GRID_ROWS, len(edits))).astype(int)
        columns = np.concatenate([self.store.images[self.rows[shown]][:, None], edits[shown]], 1)
        side, across = self.store.size, columns.shape[1]
        grid = columns.transpose(0, 2, 1, 3, 4).reshape(len(shown) * side, across * side, 3)
        return np.ascontiguousarray(grid)


def best(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The entry of the best step by `RULE`."""
    return min(entries, key=lambda entry: (entry["score"], entry["worst"], entry["step"]))


def scalars(entry: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an entry by `validation/<measure>` or `validation/<measure>/<class>`."""
    found: dict[str, float] = {}
    for name, value in entry.items():
        if isinstance(value, Mapping):
            found |= {f"validation/{name}/{key}": float(part) for key, part in value.items()}
        elif name != "step":
            found[f"validation/{name}"] = float(value)
    return found


def grid_name(step: int) -> str:
    """Name of the picture of a step."""
    return f"grid_{step:07d}.png"


def write_none(output: Path) -> None:
    """Write to the result folder `output` that the training was not validated."""
    write_json(_emptied(output) / RECORD, {"entries": []})


def _emptied(output: Path) -> Path:
    folder = output / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    return folder
