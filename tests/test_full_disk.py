"""Every way of writing on a disk that is really full: one sentence, the old file as it was, nothing left behind."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from mimik.errors import UserError
from mimik.faces.prepared import shards
from mimik.storage.arrays import new_array, reserved_array
from mimik.storage.files import atomic_path, write_json
from mimik.storage.weights import save_pth, save_safetensors

MEGABYTE = 1 << 20
NOISE = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk of 3 MB, of which 1 MB is free."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount here")
    if done.returncode:
        pytest.skip("a disk of its own needs the right to mount one")
    try:
        (folder / "ballast").write_bytes(bytes(2 * MEGABYTE))
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def measured(path: Path) -> None:
    with atomic_path(path) as temporary:
        save_file({"sums": np.ones((MEGABYTE, 1), np.float32)}, temporary)


def array(path: Path) -> None:
    with new_array(path, (4, MEGABYTE)) as values:
        values[:] = 1


def picture(path: Path) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(NOISE).save(temporary, quality=100)


def table(path: Path) -> None:
    with atomic_path(path) as temporary:
        pd.DataFrame(NOISE[..., 0]).to_csv(temporary)


WRITERS: dict[str, Callable[[Path], object]] = {
    "last.pt": lambda path: save_pth(path, {"weights": torch.rand(MEGABYTE)}),
    "generator.safetensors": lambda path: save_safetensors(path, {"weights": torch.rand(MEGABYTE)}),
    "per_face.safetensors": measured,
    "images.npy": array,
    "samples.png": picture,
    "edit.jpg": picture,
    "edit.webp": picture,
    "edit.tif": picture,
    "index.csv": table,
    "part.npz": lambda path: shards.save(path, {"images": NOISE}),
    "manifest.json": lambda path: write_json(path, NOISE[..., 0].tolist()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_whatever_writes_says_so_in_one_sentence(small_disk: Path, name: str) -> None:
    path = small_disk / name
    path.write_bytes(b"old")
    before = sorted(small_disk.iterdir())
    with pytest.raises(UserError, match="the disk is full") as caught:
        WRITERS[name](path)
    assert str(caught.value).startswith(f"{path}: ")
    assert path.read_bytes() == b"old"
    assert sorted(small_disk.iterdir()) == before
    assert shutil.disk_usage(small_disk).free > MEGABYTE // 2  # no library holds on to what it could not finish
    path.unlink()


def test_what_fails_for_another_reason_is_not_blamed_on_the_disk(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a defect"), atomic_path(tmp_path / "last.pt") as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError("a defect")
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_array_takes_its_room_before_it_is_used(small_disk: Path) -> None:
    with pytest.raises(UserError, match="the disk is full"):
        reserved_array(small_disk / "scratch.npy", (4, MEGABYTE), np.float32)
    assert not (small_disk / "scratch.npy").exists()
    program = f"""
from pathlib import Path
import numpy as np
from mimik.storage.arrays import new_array
with new_array(Path({str(small_disk)!r}, "images.npy"), (4, {MEGABYTE})) as values:
    values[:] = 1
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1  # a signal of the memory map would be negative
    assert "the disk is full" in done.stderr


def test_arrays_are_what_they_were(tmp_path: Path) -> None:
    with new_array(tmp_path / "a.npy", (2, 3), np.int32) as values:
        assert not values.any()
        values[1] = 7
    assert np.load(tmp_path / "a.npy").tolist() == [[0, 0, 0], [7, 7, 7]]
    with new_array(tmp_path / "none.npy", (2, 0, 5)) as values:
        assert values.shape == (2, 0, 5)
    assert np.load(tmp_path / "none.npy").shape == (2, 0, 5)
