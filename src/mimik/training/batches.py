"""Batches from the prepared store: one gather from the memory map per batch, a pure function of (seed, position).

Position k of the stream always contains the same samples, flips and targets, regardless of what was read before. A
resumed run continues where it stopped without any state to restore, and the number of processes does not change the
stream.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.labels import IGNORED, MIRRORED_CLASSES, MIRRORED_LANDMARKS

Batch = dict[str, Tensor]
Targets = Literal["batch", "dataset"]

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
        shift: float = 0.0,
        targets: Targets = "batch",
        balanced: bool = False,
        stratified: bool = False,
        rank: int = 0,
        processes: int = 1,
        extras: Mapping[str, npt.NDArray[np.float32]] | None = None,
        weights: npt.NDArray[np.float64] | None = None,
    ) -> None:
        """Describe the stream; nothing is read yet.

        Args:
            store: the prepared dataset.
            rows: rows to draw from, every one once per epoch (with `balanced`: classes equally likely instead).
            batch_size: samples per batch over all processes together.
            seed: seed of order, flips and targets.
            reads: optional entries, see `at`.
            flip: mirror half of the samples left to right.
            shift: pad the samples with black by this share of their side and cut a random square of the old size out.
            targets: faces whose states are targets: another of the `batch`, each once, or any of `rows` (`dataset`).
            balanced: draw classes with equal probability, and samples within a class with equal probability.
            stratified: instead, every batch contains equally many faces of every class (to within one).
            rank, processes: this process's share of every batch.
            extras: further annotations, float32 (N, ...) per name, one row per row of the store.
            weights: float64 (N,), not negative, one per row of the store: how often a row is drawn relative to others
                of its class. A class as a whole is drawn as often as without weights. There are no epochs then: every
                sample is drawn from all `rows`. None: all rows count alike. Targets of `dataset` are not weighted.

        Raises:
            UserError: the store lacks an entry to be read, a row has no label although labels are read or balanced,
                or the batch does not divide evenly over the processes.
            ValueError: all rows of a class have the weight 0.
        """
        self.store, self.rows, self.batch_size, self.seed = store, rows, batch_size, seed
        self.reads = frozenset(reads)
        self.flip, self.rank, self.processes, self.targets = flip, rank, processes, targets
        self._margin = round(shift * store.size)
        if batch_size % processes:
            raise UserError(f"batch_size: {batch_size} does not divide evenly over {processes} processes.")
        if "mask" in self.reads and store.masks is None:
            raise UserError(
                f"{store.directory}: has no masks_{store.size}.npy; add `masks` to the dataset's annotations."
            )
        self.labels = store.labels()
        if (balanced or stratified or self.reads & {"label", "target"}) and len(rows) and self.labels[rows].min() < 0:
            raise UserError(
                f"{store.directory / 'index.csv'}: {(self.labels[rows] < 0).sum()} of {len(rows)} training faces have "
                "no expression label, which this training needs. Label them, or remove them from the dataset."
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
        self._shares = None if weights is None else self._accumulated(weights)
        self._epoch: tuple[int, npt.NDArray[np.int64]] = (-1, rows)
        self._held: dict[str, Tensor] = {}
        self._place = rows

    def _random(self, purpose: int, position: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence((self.seed, purpose, position)))

    def _accumulated(self, weights: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
        """Of each group of `_by_class`, else of `rows`: up to each row, its share of the weights, ending with 1."""
        weights, labels = weights.copy(), self.labels[self.rows]
        for label in np.unique(labels):
            own = self.rows[labels == label]
            if not weights[own].sum() > 0:
                raise ValueError("weights: all rows of a class have the weight 0")
            weights[own] /= weights[own].mean()  # so that the class keeps its share of the samples
        sums = [np.cumsum(weights[group]) for group in self._by_class or [self.rows]]
        return [total / total[-1] for total in sums]

    def _rows_at(self, position: int) -> npt.NDArray[np.int64]:
        if self._shares is not None and self._by_class is None:
            picks = self._random(_SHUFFLE, position).random(self.batch_size)
            return self.rows[np.searchsorted(self._shares[0], picks, side="right")]
        if self._by_class is not None:
            random = self._random(_SHUFFLE, position)
            count = len(self._by_class)
            if self._stratified:
                kinds = random.permutation(np.resize(random.permutation(count), self.batch_size))
            else:
                kinds = random.integers(count, size=self.batch_size)
            picks = random.random(self.batch_size)
            if self._shares is not None:
                places = [np.searchsorted(self._shares[i], pick, "right") for i, pick in zip(kinds, picks, strict=True)]
                return np.array([self._by_class[i][place] for i, place in zip(kinds, places, strict=True)])
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
            `image` float (B, 3, S, S) in [-1, 1]; `row` int64 (B,). If requested: `label` int64 (B,); `mask` int64
            (B, S, S); `action_units` float (B, 17) in [0, 1]; `attributes` float (B, A) of 0 and 1; `target`,
            `target_action_units`, `target_attributes`, `target_landmarks`: the same entries of another face, all of
            one face (see `targets`); `depth` float (B, 1, S, S) and `normals` float (B, 3, S, S), see
            `mimik.faces.prepared.store`, 0 to 255 as -1 to 1; `landmarks` and `target_landmarks` float (B, 68, 2) in
            pixels, mirrored and shifted as the sample is; each of the extras float (B, ...). Where a shifted sample
            shows nothing, its image is black, its mask `IGNORED`, and depth and normals have no surface.
        """
        device = torch.device(device)
        rows, flips, others, corners = self._samples(position)
        flipped = _send(flips, device)
        cut = None if corners is None else _send(corners, device)
        batch = {
            "image": _signed(shifted(mirrored_pictures(self._pictures("images", rows, device), flipped), cut)),
            "row": _send(rows, device),
        }
        if "label" in self.reads:
            batch["label"] = _send(self.labels[rows], device)
        if "target" in self.reads:
            batch["target"] = _send(self.labels[others], device)
        if "mask" in self.reads:
            masks = mirrored_masks(self._pictures("masks", rows, device), flipped)
            batch["mask"] = shifted(masks, cut, IGNORED).long()
        for name, values in (("action_units", self.action_units), ("attributes", self.attributes)):
            for entry, of in ((name, rows), (f"target_{name}", others)):
                if entry in self.reads and values is not None:
                    batch[entry] = _send(values[of], device)
        if "depth" in self.reads:
            depth = mirrored_pictures(self._pictures("depth", rows, device)[..., None], flipped)
            batch["depth"] = _signed(shifted(depth, cut))
        if "normals" in self.reads:
            normals = mirrored_normals(self._pictures("normals", rows, device), flipped)
            batch["normals"] = _signed(shifted(normals, cut))
        for entry, of in (("landmarks", rows), ("target_landmarks", others)):
            if entry in self.reads and self.store.landmarks is not None:
                points = self.store.landmarks[of]
                points[flips] = mirrored_landmarks(points[flips], self.store.size)
                if corners is not None:
                    points = points - corners[:, None, ::-1].astype(np.float32)
                batch[entry] = _send(points, device)
        for name, values in self.extras.items():
            batch[name] = _send(values[rows], device)
        return batch

    def _samples(
        self, position: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.int64] | None]:
        """Of this process's samples: rows, which are mirrored, rows of their target states, corners (y, x) of shifts.

        A corner is the place in the sample of the upper left pixel of what is cut out, int64 (B, 2); None: no shifts.
        """
        rows = self._rows_at(position)
        random = self._random(_AUGMENT, position)
        flips = random.random(self.batch_size) < 0.5 if self.flip else np.zeros(self.batch_size, bool)
        # Drawn after the flips, so that nothing depends on who reads targets; shifts after these, for the same reason.
        if self.targets == "batch":
            others = rows[random.permutation(self.batch_size)]
        else:
            others = self.rows[random.integers(len(self.rows), size=self.batch_size)]
        share = self.batch_size // self.processes
        mine = slice(self.rank * share, (self.rank + 1) * share)
        if not self._margin:
            return rows[mine], flips[mine], others[mine], None
        corners = random.integers(-self._margin, self._margin + 1, (self.batch_size, 2))
        return rows[mine], flips[mine], others[mine], corners[mine]

    def rows_at(self, position: int) -> npt.NDArray[np.int64]:
        """Rows of this process's samples at a position, int64 (B,)."""
        return self._samples(position)[0]

    @property
    def pictures(self) -> list[str]:
        """The arrays of the store that batches are taken from."""
        also = {"mask": "masks", "depth": "depth", "normals": "normals"}
        return ["images", *(array for entry, array in also.items() if entry in self.reads)]

    def picture_bytes(self) -> int:
        """Bytes of the training faces' pictures, masks and maps, as stored."""
        count = len(np.unique(self.rows))
        return sum(getattr(self.store, name)[:1].nbytes * count for name in self.pictures)

    def keep_on(self, device: torch.device) -> None:
        """Keep the training faces' pictures, masks and maps on the device; batches are then taken from there."""
        held = np.unique(self.rows)
        place = np.full(len(self.store), -1)
        place[held] = np.arange(len(held))
        self._place = place
        for name in self.pictures:
            array = getattr(self.store, name)
            kept = torch.empty((len(held), *array.shape[1:]), dtype=torch.uint8, device=device)
            # In pieces, so that the host only has to hold the memory map's pages.
            for start in range(0, len(held), 1024):
                piece = held[start : start + 1024]
                kept[start : start + len(piece)] = torch.from_numpy(np.asarray(array[piece])).to(device)
            self._held[name] = kept

    def _pictures(self, name: str, rows: npt.NDArray[np.int64], device: torch.device) -> Tensor:
        """Rows of an array of the store, uint8 on the device."""
        if name in self._held:
            return self._held[name][_send(self._place[rows], device)]
        return _send(getattr(self.store, name)[rows], device)


def _send(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on the device, copied to a GPU without making this process wait; must not be shared."""
    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def mirrored_pictures(pictures: Tensor, flipped: Tensor) -> Tensor:
    """Pictures (B, H, W, ...), mirrored left to right where bool (B,) is true."""
    return torch.where(flipped.view(-1, *[1] * (pictures.ndim - 1)), pictures.flip(2), pictures)


def shifted(pictures: Tensor, corners: Tensor | None, empty: int = 0) -> Tensor:
    """Pictures uint8 (B, S, S, ...), each seen from another corner.

    Args:
        pictures: uint8 (B, S, S, ...).
        corners: int64 (B, 2), row and column of the pixel that comes to the upper left, from 1 - S to S - 1; None
            returns the pictures.
        empty: value beyond their borders.
    """
    if corners is None:
        return pictures
    side = pictures.shape[1]
    places = corners[:, :, None] + torch.arange(side, device=pictures.device)  # (B, 2, S)
    inside, places = (places >= 0) & (places < side), places.clamp(0, side - 1)
    which = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    seen = pictures[which, places[:, 0, :, None], places[:, 1, None]]
    there = (inside[:, 0, :, None] & inside[:, 1, None]).view(*seen.shape[:3], *[1] * (seen.ndim - 3))
    return torch.where(there, seen, empty)


def mirrored_masks(masks: Tensor, flipped: Tensor) -> Tensor:
    """Masks uint8 (B, H, W), mirrored in the same way, with left and right classes exchanged."""
    return torch.where(flipped[:, None, None], _exchange_table(masks.device)[masks.flip(2).long()], masks)


def mirrored_normals(normals: Tensor, flipped: Tensor) -> Tensor:
    """Normals uint8 (B, H, W, 3) as stored, mirrored in the same way, with x negated where there is a surface."""
    other = normals.flip(2)
    turned = torch.where((other != 0).any(3), 255 - other[..., 0], 0)
    other = torch.cat([turned[..., None], other[..., 1:]], 3)
    return torch.where(flipped[:, None, None, None], other, normals)


def mirrored_landmarks(points: npt.NDArray[np.float32], size: float) -> npt.NDArray[np.float32]:
    """68 landmarks (..., 68, 2) of the mirrored faces: left and right ones exchanged, x counted from the other side."""
    mirrored = points[..., MIRRORED_LANDMARKS, :].copy()
    mirrored[..., 0] = size - mirrored[..., 0]
    return mirrored


@cache
def _exchange_table(device: torch.device) -> Tensor:
    """The mirrored class of every class, uint8 (256,); values that are no class become unknown."""
    table = np.full(256, IGNORED, np.uint8)
    table[: len(MIRRORED_CLASSES)] = MIRRORED_CLASSES
    return torch.from_numpy(table).to(device)


def _signed(pictures: Tensor) -> Tensor:
    """uint8 (B, H, W, C) -> float (B, C, H, W) in [-1, 1], contiguous."""
    return pictures.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1)


def to_tensor(images: npt.NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """uint8 (B, H, W, 3) -> float (B, 3, H, W) in [-1, 1], contiguous; the conversion runs on `device`."""
    return _signed(_send(images, torch.device(device)))


def to_uint8(images: Tensor) -> npt.NDArray[np.uint8]:
    """float (B, 3, H, W) in [-1, 1] -> uint8 (B, H, W, 3), rounded."""
    scaled = ((images.detach().float() + 1) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
    array: npt.NDArray[np.uint8] = scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array


def balanced_subset(
    rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], limit: int | None, seed: int
) -> npt.NDArray[np.int64]:
    """At most `limit` of `rows`, drawn from the classes in turn so that their counts differ by at most one.

    When a class is exhausted, the others take its turns. Ascending; the same seed gives the same rows.

    Args:
        rows: row numbers (N,).
        labels: their classes (N,).
        limit: maximum number, or None for all.
        seed: seed of the draw.
    """
    if limit is None or limit >= len(rows):
        return np.sort(rows)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(rows))
    turn = np.empty(len(rows), dtype=np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        turn[members] = np.arange(len(members))
    # By turn first; within a turn in drawn order, so that no class is always the one that is cut off.
    position = np.empty(len(rows), dtype=np.int64)
    position[order] = np.arange(len(rows))
    kept = np.lexsort((position, turn))[:limit]
    return np.sort(rows[kept])
