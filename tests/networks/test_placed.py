"""ResNet-50, VGG-Face and LPIPS, with drawn weights of the released names, against computations of those by layer."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.evaluation.extractors import open_lpips, open_swav, open_vgg_face
from mimik.evaluation.places import Extractor, Missing, Places
from mimik.networks import lpips, resnet50, vgg_face
from mimik.networks.vgg16 import VGG16


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=random)
        if len(shape) > 1:
            values *= (2 / np.prod(shape[1:])) ** 0.5
        state[name] = values.abs() + 0.5 if name.endswith(("running_var", "bn.weight")) else values
    return state


STAGES = ((4, 3), (6, 4), (8, 6), (16, 3))
"""A tenth of the channels and less."""


@pytest.fixture(scope="module")
def swav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of SwAV's names and shapes: those of a distributed training, with its head and prototypes."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resnet50, "STAGES", STAGES)
        own = resnet50.ResNet50().state_dict()
    shapes = {f"module.{name}": tuple(value.shape) for name, value in own.items()}
    more = {"module.projection_head.0.weight": (8, 64), "module.prototypes.weight": (5, 8)}
    state = drawn({name: shape for name, shape in {**shapes, **more}.items() if shape})
    state |= {name: torch.tensor(3) for name, shape in shapes.items() if not shape}
    torch.save(state, folder / resnet50.WEIGHTS)
    return folder


def unit(state: dict[str, Tensor], x: Tensor, conv: str, norm: str, stride: int = 1, padding: int = 0) -> Tensor:
    x = F.conv2d(x, state[f"module.{conv}.weight"], None, stride, padding)
    mean, var, weight, bias = (
        state[f"module.{norm}.{part}"].view(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def test_resnet_is_that_of_the_file(swav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device("meta"):
        assert sum(value.numel() for value in resnet50.ResNet50().parameters()) == 23_508_032
    monkeypatch.setattr(resnet50, "STAGES", STAGES)
    state = torch.load(swav / resnet50.WEIGHTS, weights_only=True)
    network = resnet50.load(swav / resnet50.WEIGHTS)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    x = F.max_pool2d(F.relu(unit(state, images, "conv1", "bn1", 2, 3)), 3, 2, 1)
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = F.relu(unit(state, x, f"{name}.conv1", f"{name}.bn1"))
            y = F.relu(unit(state, y, f"{name}.conv2", f"{name}.bn2", stride, 1))
            y = unit(state, y, f"{name}.conv3", f"{name}.bn3")
            short = unit(state, x, f"{name}.downsample.0", f"{name}.downsample.1", stride) if block == 0 else x
            x = F.relu(y + short)
    with torch.inference_mode():
        found = network(images)
    expected = x.flatten(2).mean(2)
    assert found.shape == (2, 64)
    assert ((found - expected).abs().max() / expected.abs().max()).item() < 1e-5


def test_swav_sees_pictures_of_224_pixels_in_imagenets_range(swav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    class Stand(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images)
            return images.mean((2, 3))

    monkeypatch.setattr(resnet50, "load", lambda path: Stand())
    extractor = open_swav(Places(swav))
    assert isinstance(extractor, Extractor) and len(extractor.sha256) == 64
    extractor.outputs(torch.full((1, 3, 40, 40), 1.0))
    assert seen[0].shape == (1, 3, 224, 224)
    white = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(seen[0][0, :, 100, 100], white, atol=1e-5)


class Small(VGG16):
    """VGG-16 with a sixteenth of the channels, in the same places."""

    def __init__(self, classes: int) -> None:
        nn.Module.__init__(self)
        layers: list[nn.Module] = []
        channels = 3
        for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
            if width == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(channels, width // 16, 3, 1, 1), nn.ReLU(inplace=True)]
            channels = width // 16
        self.features = nn.Sequential(*layers)
        fully = [nn.Linear(32 * 49, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 20), nn.ReLU(), nn.Dropout()]
        self.classifier = nn.Sequential(*fully, nn.Linear(20, classes))


def test_vgg_face_is_that_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vgg_face, "VGG16", Small)
    blocks = ((1, 3, 4), (1, 4, 4), (2, 4, 8), (2, 8, 8), (3, 8, 16), (3, 16, 16), (3, 16, 16), (4, 16, 32),
              (4, 32, 32), (4, 32, 32), (5, 32, 32), (5, 32, 32), (5, 32, 32))  # fmt: skip
    numbers, shapes = {}, {}
    for block, before, after in blocks:
        numbers[block] = numbers.get(block, 0) + 1
        shapes[f"conv{block}_{numbers[block]}.weight"] = (after, before, 3, 3)
        shapes[f"conv{block}_{numbers[block]}.bias"] = (after,)
    for name, after, before in (("fc6", 24, 32 * 49), ("fc7", 20, 24), ("fc8", 2622, 20)):
        shapes |= {f"{name}.weight": (after, before), f"{name}.bias": (after,)}
    state = drawn(shapes)
    torch.save(state, tmp_path / vgg_face.WEIGHTS)
    picture = torch.randint(0, 256, (1, 3, 224, 224), generator=torch.Generator().manual_seed(2)).float()
    x = picture - torch.tensor([129.186279296875, 104.76238250732422, 93.59396362304688]).view(1, 3, 1, 1)
    for block in range(1, 6):
        for number in range(1, numbers[block] + 1):
            name = f"conv{block}_{number}"
            x = F.relu(F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1))
        x = F.max_pool2d(x, 2)
    x = x.flatten(1)
    for name in ("fc6", "fc7"):
        x = F.relu(x @ state[f"{name}.weight"].T + state[f"{name}.bias"])
    extractor = open_vgg_face(Places(tmp_path))
    assert isinstance(extractor, Extractor)
    with torch.inference_mode():
        found = extractor.outputs(picture / 127.5 - 1)["features"]
    assert found.shape == (1, 20) and x.abs().max() > 0
    assert torch.allclose(found, x, rtol=1e-4, atol=1e-3 * float(x.abs().max()))
    del state["conv3_2.bias"]
    torch.save(state, tmp_path / vgg_face.WEIGHTS)
    with pytest.raises(UserError, match=r"missing or of another shape: conv3_2\.bias\."):
        vgg_face.load(tmp_path / vgg_face.WEIGHTS)


def test_lpips_is_that_of_the_files(tmp_path: Path) -> None:
    layers = {0: (3, 64, 11), 3: (64, 192, 5), 6: (192, 384, 3), 8: (384, 256, 3), 10: (256, 256, 3)}
    shapes: dict[str, tuple[int, ...]] = {"classifier.1.weight": (2, 2)}
    for place, (before, after, side) in layers.items():
        shapes |= {f"features.{place}.weight": (after, before, side, side), f"features.{place}.bias": (after,)}
    alexnet = drawn(shapes)
    heads = {f"lin{n}.model.1.weight": torch.rand(1, c, 1, 1) for n, c in enumerate((64, 192, 384, 256, 256))}
    torch.save(alexnet, tmp_path / lpips.WEIGHTS)
    assert isinstance(open_lpips(Places(tmp_path)), Missing)  # one of two files
    torch.save(heads, tmp_path / lpips.HEADS)
    extractor = open_lpips(Places(tmp_path))
    assert isinstance(extractor, Extractor)
    pairs = torch.rand(3, 2, 3, 35, 35, generator=torch.Generator().manual_seed(3)) * 2 - 1
    total = torch.zeros(3)
    shift, scale = (torch.tensor(x).view(1, 3, 1, 1) for x in ([-0.03, -0.088, -0.188], [0.458, 0.448, 0.45]))
    both = [(pairs[:, side] - shift) / scale for side in (0, 1)]
    for number, (place, (_, _, side)) in enumerate(layers.items()):
        stride, padding = (4, 2) if place == 0 else (1, side // 2)
        both = [
            F.relu(F.conv2d(F.max_pool2d(x, 3, 2) if place in (3, 6) else x,
                            alexnet[f"features.{place}.weight"], alexnet[f"features.{place}.bias"], stride, padding))
            for x in both
        ]  # fmt: skip
        first, second = (F.normalize(x, dim=1) for x in both)
        total += ((first - second) ** 2 * heads[f"lin{number}.model.1.weight"]).sum(1).mean((1, 2))
    with torch.inference_mode():
        found = extractor.outputs(pairs)["distance"]
        assert extractor.outputs(pairs[:, :1].repeat(1, 2, 1, 1, 1))["distance"].tolist() == [0, 0, 0]
    assert torch.allclose(found, total, rtol=1e-5)


@pytest.mark.parametrize("module", [resnet50, lpips])
def test_other_weights_are_refused(tmp_path: Path, module) -> None:
    torch.save({"conv1.weight": torch.zeros(2)}, tmp_path / "file.pth")
    arguments = [tmp_path / "file.pth"] * (2 if module is lpips else 1)
    with pytest.raises(UserError, match=r"file\.pth: expected .*Get it from https"):
        module.load(*arguments)
