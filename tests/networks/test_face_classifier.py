import pytest
import torch

from mimik.errors import UserError
from mimik.networks.face_classifier import build, load
from mimik.networks.stored import save_network


def test_small_one_through_a_folder(tmp_path):
    classifier = build({"network": "small", "width": 4}, ["a", "b", "c"]).eval()
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    features = classifier.features(images)
    assert features.shape == (2, classifier.feature_dim)
    torch.testing.assert_close(classifier.classify(features), classifier(images))
    record = {"kind": "classifier", "name": "mine", "classes": ["a", "b", "c"]}
    architecture = {"network": "small", "width": 4}
    sha256 = save_network(tmp_path, classifier, {**record, "architecture": architecture})
    loaded = load(tmp_path)
    assert torch.equal(loaded(images), classifier(images))
    assert (loaded.classes, loaded.name, loaded.sha256) == (["a", "b", "c"], "mine", sha256)


def test_vgg_sees_224_pixels_with_imagenet_statistics():
    classifier = build({"network": "vgg16"}, ["a", "b"]).eval()
    seen = []

    def stop(_, inputs):
        seen.append(inputs[0])
        raise InterruptedError

    classifier.network.features.register_forward_pre_hook(stop)
    with pytest.raises(InterruptedError):
        classifier(torch.full((1, 3, 64, 64), -1.0))
    assert seen[0].shape == (1, 3, 224, 224)
    torch.testing.assert_close(seen[0][0, :, 9, 9], torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]))


def test_attributes_through_a_folder(tmp_path):
    architecture = {"network": "stgan_classifier", "predicts": "attributes"}
    classifier = build(architecture, ["Bald", "Young"]).eval()
    record = {"kind": "classifier", "name": "mine", "classes": ["Bald", "Young"], "architecture": architecture}
    save_network(tmp_path, classifier, record)
    loaded = load(tmp_path)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    assert (loaded.predicts, loaded.classes) == ("attributes", ["Bald", "Young"])
    assert torch.equal(loaded(images), classifier(images)) and loaded(images).shape == (2, 2)


def test_stgans_sees_128_pixels_as_they_are():
    classifier = build({"network": "stgan_classifier"}, ["a", "b"]).eval()
    seen = []
    classifier.network.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    classifier(torch.full((1, 3, 256, 256), -1.0))
    assert seen[0].shape == (1, 3, 128, 128) and (seen[0] == -1).all()


def test_unknown_network_is_refused():
    with pytest.raises(UserError, match="vgg16"):
        build({"network": "resnet"}, ["a"])
