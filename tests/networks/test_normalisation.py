import torch
import torch.nn.functional as F

from mimik.networks.normalisation import instance_norm, normalise


def test_half_is_the_identity():
    images = torch.rand(2, 3, 4, 4) * 2 - 1
    torch.testing.assert_close(normalise(images, "half"), images)


def test_imagenet_by_hand():
    normalised = normalise(torch.ones(1, 3, 1, 1), "imagenet").flatten()
    torch.testing.assert_close(
        normalised, torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    )


def test_instance_norm_is_the_same_in_both_memory_formats() -> None:
    norm = instance_norm(8)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    images = torch.randn(3, 8, 5, 6)
    weights = torch.randn(3, 8, 5, 6)

    def run(features: torch.Tensor) -> list[torch.Tensor]:
        features = features.detach().requires_grad_()
        out = norm(features)
        found = torch.autograd.grad((out**2 * weights).sum(), [features, norm.weight, norm.bias])
        return [out, *found]

    plain, last = run(images), run(images.to(memory_format=torch.channels_last))
    for ours, theirs in zip(last, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert last[0].is_contiguous(memory_format=torch.channels_last)
    expected = F.instance_norm(images, None, None, norm.weight, norm.bias)
    torch.testing.assert_close(last[0], expected)
