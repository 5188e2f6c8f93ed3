import copy

import pytest
import torch

from mimik.errors import UserError
from mimik.labels import SEGMENTATION_CLASSES
from mimik.networks.segmenter import build, load
from mimik.networks.stored import save_network

SMALL = {
    "bisenet": {"network": "bisenet", "image_size": 32, "width": 8, "upscale": 2},
    "unet": {"network": "unet", "image_size": 32, "width": 4},
}


@pytest.fixture(params=["bisenet", "unet"])
def segmenter(request):
    torch.manual_seed(0)
    return build(SMALL[request.param])


def test_logits_and_gradient_to_the_image(segmenter):
    images = (torch.rand(2, 3, 32, 32) * 2 - 1).requires_grad_()
    logits = segmenter(images)
    assert logits.shape == (2, len(SEGMENTATION_CLASSES), 32, 32)
    logits.square().sum().backward()
    assert images.grad.abs().sum() > 0


def test_heads(segmenter):
    segmenter.eval()
    images = torch.rand(1, 3, 32, 32)
    heads = segmenter.all_logits(images)
    assert len(heads) == (3 if segmenter.normalisation == "imagenet" else 1)
    torch.testing.assert_close(heads[0], segmenter(images))


def test_logits_are_float32_under_autocast(segmenter):
    with torch.autocast("cpu", torch.bfloat16):
        assert {part.dtype for part in segmenter.all_logits(torch.rand(2, 3, 32, 32))} == {torch.float32}


def test_bisenet_sees_imagenet_statistics_and_the_enlarged_image():
    segmenter = build(SMALL["bisenet"])
    seen = []
    segmenter.network.context.resnet.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    segmenter(torch.full((2, 3, 32, 32), -1.0))
    assert seen[0].shape == (2, 3, 64, 64)
    torch.testing.assert_close(seen[0][0, :, 5, 5], torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]))


def statistics(segmenter):
    return {n: v.clone() for n, v in segmenter.state_dict().items() if "running" in n or "tracked" in n}


def test_frozen_batch_norm_keeps_its_statistics_and_trains_its_weights(segmenter):
    images = torch.rand(4, 3, 32, 32)
    before = statistics(segmenter)
    segmenter.train()(images)
    moved = statistics(segmenter)
    assert any(not torch.equal(before[name], moved[name]) for name in before)

    segmenter.freeze_batch_norm()
    segmenter.train()
    segmenter(images).square().sum().backward()
    assert all(torch.equal(value, moved[name]) for name, value in statistics(segmenter).items())
    norms = [m for m in segmenter.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert any(m.weight.grad is not None and m.weight.grad.abs().sum() > 0 for m in norms)
    assert segmenter.training and not any(m.training for m in norms)
    # Frozen statistics also mean that a sample's logits do not depend on the rest of the batch.
    torch.testing.assert_close(segmenter(images)[:1], segmenter(images[:1]), rtol=1e-4, atol=1e-4)
    assert not any(
        m.training for m in copy.deepcopy(segmenter).train().modules() if isinstance(m, torch.nn.BatchNorm2d)
    )


def record(segmenter):
    return {
        "kind": "segmenter",
        "name": "mine",
        "classes": list(SEGMENTATION_CLASSES),
        "architecture": segmenter.settings,
    }


def test_round_trip_through_a_folder(segmenter, tmp_path):
    segmenter.eval()
    sha256 = save_network(tmp_path, segmenter, record(segmenter))
    loaded = load(tmp_path)
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(loaded(images), segmenter(images))
    assert (loaded.sha256, loaded.name, loaded.settings) == (sha256, "mine", segmenter.settings)
    assert not loaded.training


def test_settings_rebuild_the_published_widths():
    assert build({"network": "bisenet", "image_size": 256}).settings["width"] == 64
    assert build({"network": "unet", "image_size": 256}).settings["width"] == 16


def test_damaged_weights_are_refused(segmenter, tmp_path):
    save_network(tmp_path, segmenter, record(segmenter))
    weights = tmp_path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match="SHA-256 differs"):
        load(tmp_path)


def test_missing_or_wrong_folders_are_refused(segmenter, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "nothing")
    save_network(tmp_path, segmenter, {**record(segmenter), "kind": "classifier"})
    with pytest.raises(UserError, match="expected the config of a segmenter"):
        load(tmp_path)
    save_network(tmp_path, segmenter, {**record(segmenter), "classes": ["background"]})
    with pytest.raises(UserError, match="other segmentation classes"):
        load(tmp_path)
    save_network(tmp_path, segmenter, {**record(segmenter), "architecture": {**segmenter.settings, "width": 6}})
    with pytest.raises(UserError, match="do not fit"):
        load(tmp_path)


def test_unknown_network_is_refused():
    with pytest.raises(UserError, match="bisenet"):
        build({"network": "deeplab", "image_size": 64})
