"""Every licensed dataset in its official layout, with planted faults: from the archive to counts and quarantine.

tests/workflow/official_runs.py takes archives made of many photographs through the whole workflow.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mimik.faces.prepared.prepare import prepare
from mimik.settings import params
from tests import official_layouts
from tests.official_layouts import Photographs, Planted

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def faces() -> Iterator[Image.Image]:
    """One face, never the same picture: cut out in other places, mirrored, darker and brighter."""
    from skimage.data import astronaut

    photograph = astronaut()
    random = np.random.default_rng(0)
    while True:
        left, top = random.integers((90, 0), (141, 11))
        part = photograph[top : top + 230, left : left + 230] * random.uniform(0.7, 1.1)
        picture = Image.fromarray(np.clip(part, 0, 255).astype(np.uint8))
        yield picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else picture


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (official_layouts.affectnet_csv, {}),
        (official_layouts.affectnet_npy, {}),
        (official_layouts.rafd, {"test_identities": 1, "val_identities": 1}),
        (official_layouts.cfee, {}),
        (official_layouts.celeba, {"split": "official"}),
        (official_layouts.celeba_hq, {}),
        (official_layouts.celebamask_hq, {}),
    ],
    ids=["affectnet_csv", "affectnet_npy", "rafd", "cfee", "celeba", "celeba_hq", "celebamask_hq"],
)
def test_counts_and_quarantine_are_as_planted(
    make: Callable[..., Planted], options: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("mediapipe")
    planted = make(tmp_path / "raw", Photographs(faces()))
    settings = params.resolve_dataset(params.load(ROOT / "params.yaml"), planted.entry, "smoke")
    prepare(
        planted.entry,
        settings["options"] | {"sizes": [64], "annotations": ["landmarks", "masks"]} | options,
        tmp_path / "raw",
        tmp_path / "store",
        module_name=settings["module"],
        seed=settings["seed"],
        workers=1,
        mirror=None,
        work=tmp_path / "work",
        progress=False,
    )
    assert planted.differences(tmp_path / "store") == []


def test_what_is_not_as_planted_is_told(tmp_path: Path) -> None:
    planted = Planted("some", official_layouts.Counter({("test", "fear"): 2}), {"a.jpg": ("read", "the file is")})
    (tmp_path / "index.csv").write_text("split,expression,source\ntest,fear,b.jpg\n")
    (tmp_path / "quarantine.csv").write_text("path,stage,reason\na.jpg,read,cannot\nc.jpg,read,gone\n")
    assert [line.split(":")[0] for line in planted.differences(tmp_path)] == ["test fear", "a.jpg", "c.jpg"]
