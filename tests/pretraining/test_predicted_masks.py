"""Masks by a segmenter of another dataset: from its folder to the masks of aligned photographs."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mimik.errors import UserError
from mimik.faces.prepared.prepare import prepare
from mimik.faces.prepared.store import FaceStore
from mimik.labels import IGNORED, SEGMENTATION_CLASSES
from mimik.networks.segmenter import KIND, Segmenter, build
from mimik.networks.stored import save_network
from mimik.pretraining.predicted_masks import PredictedMasks
from mimik.storage.files import file_sha256

SKIN, HAIR = (SEGMENTATION_CLASSES.index(name) for name in ("skin", "hair"))


class Brightness(torch.nn.Module):
    """Bright pixels are skin, dark ones hair, the surer the farther they are from middle grey."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(4.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.full((len(images), len(SEGMENTATION_CLASSES), *images.shape[2:]), -50.0)
        logits[:, SKIN] = self.gain * images.mean(1)
        logits[:, HAIR] = -self.gain * images.mean(1)
        return logits


@pytest.fixture
def by_brightness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a segmenter of 64 px."""
    network = Segmenter(Brightness(), len(SEGMENTATION_CLASSES), "half", 64)  # type: ignore[arg-type]
    return stored(tmp_path / "brightness", network, monkeypatch)


def stored(folder: Path, network: Segmenter, monkeypatch: pytest.MonkeyPatch | None = None) -> Path:
    save_network(
        folder,
        network,
        {
            "kind": KIND,
            "name": "bisenet",
            "dataset": "celebamask_hq",
            "image_size": network.input_size,
            "architecture": network.settings,
            "classes": list(SEGMENTATION_CLASSES),
            "dataset_digest": "d",
        },
    )
    if monkeypatch is not None:
        monkeypatch.setattr("mimik.networks.segmenter.build", lambda settings: network)
    return folder


def test_each_pixel_has_its_likeliest_class_at_every_size(by_brightness: Path) -> None:
    half = np.zeros((20, 64, 64, 3), np.uint8)  # more than one batch
    half[:, :, 32:] = 255
    half[7] = 255 - half[7]
    large = half.repeat(2, 1).repeat(2, 2)
    found = PredictedMasks(by_brightness)({128: large, 64: half, 32: half[:, ::2, ::2]})
    assert {size: (masks.shape, masks.dtype) for size, masks in found.items()} == {
        size: ((20, size, size), np.uint8) for size in (128, 64, 32)
    }
    for size, masks in found.items():
        assert (masks[0, :, : size // 2 - 1] == HAIR).all() and (masks[0, :, size // 2 + 1 :] == SKIN).all()
        assert (masks[7, :, : size // 2 - 1] == SKIN).all() and (masks[7, :, size // 2 + 1 :] == HAIR).all()


def test_pixels_that_the_segmenter_is_not_sure_of_are_unknown(by_brightness: Path) -> None:
    faces = np.full((1, 64, 64, 3), 255, np.uint8)
    faces[:, :20] = 132  # hardly brighter than the middle
    sure, all_of_them = (PredictedMasks(by_brightness, least)({64: faces})[64][0] for least in (0.9, 0.0))
    assert (all_of_them == SKIN).all()
    assert (sure[:20] == IGNORED).all() and (sure[20:] == SKIN).all()
    with pytest.raises(UserError, match="masks_confidence"):
        PredictedMasks(by_brightness, 1.0)


def test_a_real_segmenter_gives_what_it_gives_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build({"network": "unet", "image_size": 64, "width": 4})
    predict = pickle.loads(pickle.dumps(PredictedMasks(stored(tmp_path / "unet", network))))
    faces = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    with torch.inference_mode():
        images = torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 127.5 - 1
        expected = network.eval()(images).argmax(1).numpy()
    assert np.array_equal(predict({64: faces})[64], expected)
    assert predict.record["sha256"] == file_sha256(tmp_path / "unet" / "model.safetensors")


def prepared(folder: Path, segment: PredictedMasks | None, **options: Any) -> FaceStore:
    raw = folder / "raw"
    if not raw.exists():
        from skimage.data import astronaut

        for number in range(10):
            path = raw / ("smile", "frown")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(astronaut()[20 : 200 + number, 150 + 2 * number : 310]).save(path)
    settings = {"sizes": [64, 32], "masks": "segmenter", "annotations": ["masks"], **options}
    prepare(
        "folder", settings, raw, folder / "store",
        seed=0, workers=1, mirror=None, work=folder / "work", segment=segment, progress=False,
    )  # fmt: skip
    return FaceStore(folder / "store", 64)


def test_prepared_masks_are_those_of_the_aligned_faces_and_unknown_beyond_the_photograph(
    by_brightness: Path, tmp_path: Path
) -> None:
    pytest.importorskip("mediapipe")
    predict = PredictedMasks(by_brightness)
    store = prepared(tmp_path, predict)
    assert store.masks is not None and len(store) == 10
    alone = predict({64: np.array(store.images)})[64]
    outside = np.asarray(store.masks) == IGNORED
    assert outside.any() and not outside.all()  # the crops reach beyond these photographs
    assert np.array_equal(np.asarray(store.masks)[~outside], alone[~outside])
    assert {SKIN, HAIR} <= set(np.unique(alone))
    manifest = store.manifest
    assert manifest["masks"] == "segmenter" and manifest["mask_segmenter"] == predict.record
    mesh = prepared(tmp_path, None, masks="mesh")
    assert np.array_equal(mesh.images, store.images) and mesh.manifest["mask_segmenter"] is None
    assert mesh.manifest["importer"]["code_sha256"] != manifest["importer"]["code_sha256"]
    assert mesh.digest != store.digest


def test_a_segmenter_that_is_missing_is_one_message(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    with pytest.raises(
        UserError, match=r"datasets\.folder\.masks: 'segmenter', but no segmenter is named. Set `masks_from`"
    ):
        prepared(tmp_path, None)
    with pytest.raises(UserError, match=r"nowhere/config\.json: no such file"):
        prepared(tmp_path, PredictedMasks(tmp_path / "nowhere"))
