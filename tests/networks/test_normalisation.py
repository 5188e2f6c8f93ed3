import torch

from mimik.networks.normalisation import normalise


def test_half_is_the_identity():
    images = torch.rand(2, 3, 4, 4) * 2 - 1
    torch.testing.assert_close(normalise(images, "half"), images)


def test_imagenet_by_hand():
    normalised = normalise(torch.ones(1, 3, 1, 1), "imagenet").flatten()
    torch.testing.assert_close(
        normalised, torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    )
