"""Folders of photographs as nobody should leave them, by the hundred, with fixed seeds."""

import io
import os
import random
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = (
    *("smile", "frown", "train", "test", "val", "anna", "happy", "sad", "faces", "1", "openface", "depth", "images"),
    *("\u00e9", "e\u0301", "a b", "@eaDir", ".x", "__MACOSX", "x" * 200, "a\nb", "a,b", '"q"', "*", "[a]", "%s", "{x}"),
    "\udce9",
)
ENDINGS = (".png", ".jpg", ".PNG", ".heic", "", ".gif", ".cr2", ".txt", ".csv", ".db", ".jpg.part")
CONTENTS = (b"", b"abc", b"\0\0\0\x18ftypheic" + bytes(40), b"%!PS-Adobe-3.0 EPSF-3.0")
MODULES = ("folder", "folder", "folder", "cfee", "rafd", "affectnet", "open_faces", "celeba", "celebamask_hq")
HEADERS = ("path,expression", "path,expression,identity,split", "path,label,subject", "image,emotion")
PLACES = {
    "affectnet": ("train_set/images", "train_set/annotations", "val_set/images", "val_set/annotations"),
    "open_faces": ("images",),
    "celeba": ("img_align_celeba",),
}


def picture(number: int) -> bytes:
    """A small PNG whose bytes depend on a number."""
    made = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(made, "PNG")
    return made.getvalue()


def make(chance: random.Random, root: Path) -> tuple[str, dict[str, Any]]:
    """Fill an empty folder. Returns the module of `mimik.datasets` that is to read it, and its options."""
    module = chance.choice(MODULES)
    options: dict[str, Any] = {}
    for place in PLACES.get(module, ()):
        (root / place).mkdir(parents=True)
        _grow(chance, root / place, 3)
    if module == "folder" and chance.random() < 0.5:
        for position, name in enumerate(("smile", "frown")):
            (root / name).mkdir()
            for number in range(12):
                (root / name / f"{number}.png").write_bytes(picture(1000 + 100 * position + number))
        options |= {"classes": ["smile", "frown"]} if chance.random() < 0.3 else {}
    _grow(chance, root, 4)
    if chance.random() < 0.5:
        _write_lists(chance, root)
        options |= {"csv": "list.csv"} if module == "folder" else {}
    if chance.random() < 0.2:
        options |= {"action_units": "openface", "openface_csv": chance.choice(("openface", "list.csv", "."))}
    if chance.random() < 0.2:
        options |= {"reconstruction": "released"}
    return module, options


def _grow(chance: random.Random, folder: Path, levels: int) -> None:
    for _ in range(chance.randint(1, 6)):
        name, kind = chance.choice(NAMES), chance.random()
        try:
            if kind < 0.45 and levels:
                (folder / name).mkdir(exist_ok=True)
                _grow(chance, folder / name, levels - 1)
            elif kind < 0.85:
                for number in range(chance.randint(1, 8)):
                    content = picture(chance.randrange(50)) if chance.random() < 0.8 else chance.choice(CONTENTS)
                    (folder / f"{name}{number}{chance.choice(ENDINGS)}").write_bytes(content)
            elif kind < 0.95:
                (folder / name).symlink_to(chance.choice(("..", ".", "../..", "/nowhere", "smile", "frown", name)))
            else:
                os.mkfifo(folder / f"{name}.png")
        except OSError:
            continue  # a name that is taken, or that this file system does not have


def _write_lists(chance: random.Random, root: Path) -> None:
    files = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()][:60]
    header = chance.choice(HEADERS)
    rows = [header]
    for file in (*files, "../x.png", "/etc/passwd", "C:\\a.png", "", ".", "x/", "\0"):
        written = chance.choice(
            (file, file, file.replace("/", "\\"), f"x/{file}", file.upper(), unicodedata.normalize("NFD", file))
        )
        values = [chance.choice(("smile", "frown", "", "happy", "train", "test")) for _ in range(header.count(","))]
        rows.append(",".join([written, *values]))
    content = "\n".join(rows).encode(chance.choice(("utf-8", "utf-8-sig", "utf-16", "latin-1")), "replace")
    for name in ("list.csv", "manifest.csv", "data/legend.csv"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
