import torch
from torch import nn

from mimik.networks.stgan_classifier import STGANClassifier


def test_layers_are_those_of_the_specification():
    network = STGANClassifier(40)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [16, 16, 32, 32, 64, 64, 128, 128, 256, 256]
    assert all(layer.kernel_size == (3, 3) and layer.bias is None for layer in convolutions)
    assert sum(isinstance(module, nn.MaxPool2d) for module in network.modules()) == 5
    kernels = 9 * sum(layer.in_channels * layer.out_channels for layer in convolutions)
    norms = 2 * 2 * (16 + 32 + 64 + 128 + 256)
    fully_connected = (4 * 4 * 256 + 1) * 512 + (512 + 1) * 40
    counted = sum(parameter.numel() for parameter in network.parameters())
    assert counted == kernels + norms + fully_connected == 3_297_944


def test_features_and_logits():
    network = STGANClassifier(13).eval()
    features = network.embed(torch.rand(2, 3, 128, 128) * 2 - 1)
    assert features.shape == (2, network.feature_dim) and features.min() == 0 < features.max()
    assert network.classify(features).shape == (2, 13)
