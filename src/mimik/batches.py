"""Batches from the prepared store: one gather from the memory map per batch, a pure function of (seed, position).

Position k of the stream always holds the same samples, flips and targets, whatever was read before; a resumed run
continues where it stopped without any state to restore, and the number of processes does not change the stream.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mimik.errors import UserError
from mimik.faces.store import FaceStore
from mimik.labels import IGNORED, MIRRORED_CLASSES, MIRRORED_LANDMARKS

Batch = dict[str, Tensor]

_SHUFFLE, _AUGMENT = 1, 2


class Batches:
    """The training stream over some rows of a store."""

    def __init__(
        self,
        store: FaceStore,
        rows: npt.NDArray[np.int64],
        batch_size: int,
        *,
        seed: int,
        reads: Iterable[str] = (),
        flip: bool = True,
        balanced: bool = False,
        stratified: bool = False,
        rank: int = 0,
        processes: int = 1,
        extras: Mapping[str, npt.NDArray[np.float32]] | None = None,
    ) -> None:
        """Describe the stream; nothing is read yet.

        Args:
            store: the prepared dataset.
            rows: rows to draw from, every one once per epoch (with `balanced`: classes equally likely instead).
            batch_size: samples per batch over all processes together.
            seed: seed of order, flips and targets.
            reads: optional entries, see `at`.
            flip: mirror half of the samples left to right.
            balanced: draw classes with equal probability, samples within a class likewise.
            stratified: instead, every batch holds the same number of faces of every class, or one more of some.
            rank, processes: this process's share of every batch.
            extras: further annotation, float32 (N, ...) per name, a row for every row of the store.

        Raises:
            UserError: the store lacks what is to be read, a row has no label although labels are read or balanced,
                or the batch does not divide over the processes.
        """
        self.store, self.rows, self.batch_size, self.seed = store, rows, batch_size, seed
        self.reads = frozenset(reads)
        self.flip, self.rank, self.processes = flip, rank, processes
        if batch_size % processes:
            raise UserError(f"batch_size: {batch_size} does not divide over {processes} processes.")
        if "mask" in self.reads and store.masks is None:
            raise UserError(
                f"{store.directory}: has no masks_{store.size}.npy; add `masks` to the dataset's annotations."
            )
        self.labels = store.labels()
        if (balanced or stratified or self.reads & {"label", "target"}) and len(rows) and self.labels[rows].min() < 0:
            raise UserError(
                f"{store.directory / 'index.csv'}: {(self.labels[rows] < 0).sum()} of {len(rows)} training faces have "
                "no expression label, which this training needs. Label them, or leave them out of the dataset."
            )
        units, attributes = store.action_units(), store.attributes()
        if self.reads & {"action_units", "target_action_units"}:
            if units is None:
                raise UserError(f"{store.directory / 'index.csv'}: has no action units (columns AU01 to AU45).")
            if unknown := int(np.isnan(units[rows]).any(1).sum()):
                raise UserError(
                    f"{store.directory / 'index.csv'}: {unknown} of {len(rows)} training faces have no action units."
                )
        if self.reads & {"attributes", "target_attributes"} and attributes is None:
            raise UserError(f"{store.directory / 'index.csv'}: has no attributes (columns attribute_<name>).")
        for name in ("depth", "normals", "landmarks"):
            if self.reads & {name, f"target_{name}"} and getattr(store, name) is None:
                raise UserError(
                    f"{store.directory}: has no {name} at {store.size} px; add `{name}` to the dataset's annotations."
                )
        self.action_units, self.attributes = units, attributes
        self.extras = dict(extras or {})
        self._by_class = None
        self._stratified = stratified
        if balanced or stratified:
            present = np.unique(self.labels[rows])
            self._by_class = [rows[self.labels[rows] == label] for label in present]
        self._epoch: tuple[int, npt.NDArray[np.int64]] = (-1, rows)

    def _random(self, purpose: int, position: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence((self.seed, purpose, position)))

    def _rows_at(self, position: int) -> npt.NDArray[np.int64]:
        if self._by_class is not None:
            random = self._random(_SHUFFLE, position)
            count = len(self._by_class)
            if self._stratified:
                kinds = random.permutation(np.resize(random.permutation(count), self.batch_size))
            else:
                kinds = random.integers(count, size=self.batch_size)
            picks = random.random(self.batch_size)
            groups = (self._by_class[kind] for kind in kinds)
            return np.array([group[int(pick * len(group))] for group, pick in zip(groups, picks, strict=True)])
        start, count = position * self.batch_size, len(self.rows)
        chosen: list[npt.NDArray[np.int64]] = []
        wanted = self.batch_size
        while wanted:
            epoch, offset = divmod(start, count)
            if self._epoch[0] != epoch:
                self._epoch = (epoch, self._random(_SHUFFLE, epoch).permutation(self.rows))
            piece = self._epoch[1][offset : offset + wanted]
            chosen.append(piece)
            start += len(piece)
            wanted -= len(piece)
        return np.concatenate(chosen)

    def at(self, position: int, device: torch.device | str = "cpu") -> Batch:
        """The batch at a position of the stream (this process's share of it).

        Returns:
            `image` float (B, 3, S, S) in [-1, 1]; `row` int64 (B,); as asked for: `label` int64 (B,); `mask` int64
            (B, S, S); `action_units` float (B, 17) in [0, 1]; `attributes` float (B, A) of 0 and 1; `target`,
            `target_action_units`, `target_attributes`, `target_landmarks`: the same of another face of the batch, all
            of the same one; `depth` float (B, 1, S, S) and `normals` float (B, 3, S, S), see `mimik.faces.store`, 0 to
            255 as -1 to 1; `landmarks` float (B, 68, 2) in pixels, and likewise `target_landmarks`, mirrored where the
            sample is; every one of the extras float (B, ...).
        """
        rows = self._rows_at(position)
        random = self._random(_AUGMENT, position)
        flips = random.random(self.batch_size) < 0.5 if self.flip else np.zeros(self.batch_size, bool)
        # Targets are what other faces of the batch show; drawn last, so that nothing depends on who reads them.
        others = rows[random.permutation(self.batch_size)]
        share = self.batch_size // self.processes
        mine = slice(self.rank * share, (self.rank + 1) * share)
        rows, flips, others = rows[mine], flips[mine], others[mine]
        images = self.store.images[rows]
        images[flips] = images[flips, :, ::-1]
        batch = {
            "image": to_tensor(images, device),
            "row": torch.from_numpy(rows).to(device),
        }
        if "label" in self.reads:
            batch["label"] = torch.from_numpy(self.labels[rows]).to(device)
        if "target" in self.reads:
            batch["target"] = torch.from_numpy(self.labels[others]).to(device)
        if "mask" in self.reads and self.store.masks is not None:
            masks = self.store.masks[rows]
            masks[flips] = _MIRROR[masks[flips, :, ::-1]]
            batch["mask"] = torch.from_numpy(masks).to(device).long()
        for name, values in (("action_units", self.action_units), ("attributes", self.attributes)):
            for entry, of in ((name, rows), (f"target_{name}", others)):
                if entry in self.reads and values is not None:
                    batch[entry] = torch.from_numpy(values[of]).to(device)
        if "depth" in self.reads and self.store.depth is not None:
            depth = self.store.depth[rows]
            depth[flips] = depth[flips, :, ::-1]
            batch["depth"] = to_tensor(depth[..., None], device)
        if "normals" in self.reads and self.store.normals is not None:
            normals = self.store.normals[rows]
            normals[flips] = mirrored_normals(normals[flips])
            batch["normals"] = to_tensor(normals, device)
        for entry, of in (("landmarks", rows), ("target_landmarks", others)):
            if entry in self.reads and self.store.landmarks is not None:
                points = self.store.landmarks[of]
                points[flips] = mirrored_landmarks(points[flips], self.store.size)
                batch[entry] = torch.from_numpy(points).to(device)
        for name, values in self.extras.items():
            batch[name] = torch.from_numpy(values[rows]).to(device)
        return batch


def mirrored_normals(normals: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Normals uint8 (..., H, W, 3), as stored, of the mirrored faces; where there is no surface there is still none."""
    mirrored = normals[..., ::-1, :].copy()
    surface = mirrored.any(-1)
    mirrored[..., 0] = np.where(surface, 255 - mirrored[..., 0], 0)
    return mirrored


def mirrored_landmarks(points: npt.NDArray[np.float32], size: float) -> npt.NDArray[np.float32]:
    """68 landmarks (..., 68, 2) of the mirrored faces: left and right ones exchanged, x counted from the other side."""
    mirrored = points[..., MIRRORED_LANDMARKS, :].copy()
    mirrored[..., 0] = size - mirrored[..., 0]
    return mirrored


_MIRROR = np.full(256, IGNORED, np.uint8)
_MIRROR[: len(MIRRORED_CLASSES)] = MIRRORED_CLASSES


def to_tensor(images: npt.NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """uint8 (B, H, W, 3) -> float (B, 3, H, W) in [-1, 1], contiguous; the conversion runs on `device`."""
    on_device = torch.from_numpy(np.require(images, requirements=["C", "W"])).to(device, non_blocking=True)
    return on_device.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> npt.NDArray[np.uint8]:
    """float (B, 3, H, W) in [-1, 1] -> uint8 (B, H, W, 3), rounded."""
    scaled = ((images.detach().float() + 1) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
    array: npt.NDArray[np.uint8] = scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array
