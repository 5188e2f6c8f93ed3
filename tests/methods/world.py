"""What the tests of methods share: a small context, a batch with everything, and checks that every method passes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mimik.components.conditions import Condition, ConditionConfig
from mimik.components.context import Context
from mimik.labels import ACTION_UNITS, EXPRESSIONS, SEGMENTATION_CLASSES
from mimik.training.devices import compile_network, recompute

SIZE, CLASSES = 32, 4


class Parser(nn.Module):
    """A segmenter that sees parts where faces have them, and learns."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Conv2d(3, 19, 3, 1, 1)
        self.norm = nn.BatchNorm2d(19)
        prior = torch.full((19, SIZE, SIZE), -1.0)
        prior[SEGMENTATION_CLASSES.index("skin")] = 0.0
        for name, (top, bottom, left, right) in {
            "l_eye": (9, 14, 7, 13),
            "r_eye": (9, 14, 19, 25),
            "nose": (13, 20, 13, 19),
            "mouth": (22, 26, 11, 21),
        }.items():
            prior[SEGMENTATION_CLASSES.index(name), top:bottom, left:right] = 2.0
        self.register_buffer("prior", prior)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.prior + 0.1 * self.norm(self.shift(images))
        return out


def make_context(size: int = SIZE, classes: int = CLASSES, **condition: Any) -> Context:
    """A context with a segmenter; keywords are settings of the condition."""
    made = Condition(ConditionConfig(**condition), EXPRESSIONS[:classes], ("Bald", "Smiling", "Young"))
    if made.class_units is not None:
        random = torch.Generator().manual_seed(3)
        made.set_class_units(torch.rand(classes, len(ACTION_UNITS), generator=random))
    return Context(made, size, {"segmenter": Parser()})


def make_batch(size: int = SIZE, count: int = 8) -> dict[str, Tensor]:
    """A batch with every entry that `mimik.training.batches` can give; targets are those of the next face."""
    torch.manual_seed(1)
    label = torch.arange(count) % CLASSES
    units, attributes = torch.rand(count, len(ACTION_UNITS)), (torch.rand(count, 3) > 0.5).float()
    landmarks = torch.rand(count, 68, 2) * 0.1 * size
    for points, (x, y) in {
        (36, 42): (0.37, 0.38),
        (42, 48): (0.63, 0.38),
        (27, 36): (0.5, 0.5),
        (48, 68): (0.5, 0.72),
    }.items():
        landmarks[:, slice(*points)] += torch.tensor([x, y]) * size - 0.05 * size
    return {
        "image": torch.rand(count, 3, size, size) * 2 - 1,
        "row": torch.arange(count),
        "label": label,
        "target": label.roll(-1),
        "action_units": units,
        "target_action_units": units.roll(-1, 0),
        "attributes": attributes,
        "target_attributes": attributes.roll(-1, 0),
        "mask": torch.randint(len(SEGMENTATION_CLASSES), (count, size, size)),
        "depth": torch.rand(count, 1, size, size) * 2 - 1,
        "normals": torch.rand(count, 3, size, size) * 2 - 1,
        "landmarks": landmarks,
        "target_landmarks": landmarks.roll(-1, 0),
    }


def states(method: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Source and target states of a batch."""
    return method.condition.source(batch), method.condition.target(batch)


def reached(module: nn.Module) -> bool:
    """Whether any gradient has arrived."""
    return any(p.grad is not None and float(p.grad.abs().max()) > 0 for p in module.parameters())


def check_generator_learns(method: Any, steps: int = 12, rate: float = 2e-3) -> None:
    """A few steps lower the generator's loss on a fixed batch; all terms are finite."""
    method.train()
    batch = make_batch(method_size(method))
    parameters = [p for group in method.generator_parameters() for p in group["params"]]
    optimiser = torch.optim.Adam(parameters, lr=rate)
    totals = []
    for _ in range(steps):
        torch.manual_seed(7)
        total, terms = method.generator_loss(batch, 1000)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(float(total.detach()))
        assert all(torch.isfinite(value) for value in terms.values())
    assert totals[-1] < totals[0]


def check_updates(method: Any, discriminators: list[nn.Module], generators: list[nn.Module]) -> None:
    """Each update reaches its own networks, all of them, and no other; its groups hold exactly what it trains."""
    method.train()
    batch = make_batch(method_size(method))
    method.zero_grad(set_to_none=True)
    method.discriminator_loss(batch, 1000)[0].backward()
    assert all(reached(network) for network in discriminators)
    assert not any(reached(network) for network in generators)
    method.zero_grad(set_to_none=True)
    for network in discriminators:
        network.requires_grad_(False)
    batch = make_batch(method_size(method))
    method.generator_loss(batch, 1000)[0].backward()
    assert not any(reached(network) for network in discriminators)
    assert all(reached(network) for network in generators)
    assert batch["edited"].shape == batch["image"].shape and batch["edited"].requires_grad
    for network in discriminators:
        network.requires_grad_(True)
    for networks, groups in (
        (discriminators, method.discriminator_parameters()),
        (generators, method.generator_parameters()),
    ):
        listed = [id(p) for group in groups for p in group["params"]]
        assert len(set(listed)) == len(listed)
        assert {id(p) for network in networks for p in network.parameters()} == set(listed)


def check_round_trip(make: Callable[[], Any]) -> None:
    """State saved and loaded gives the same translations, in range."""
    torch.manual_seed(0)
    method = make().train()
    batch = make_batch(method_size(method))
    optimiser = torch.optim.Adam([p for g in method.generator_parameters() for p in g["params"]], lr=1e-2)
    method.generator_loss(batch, 0)[0].backward()
    optimiser.step()
    torch.manual_seed(5)
    other = make()
    other.load_generator_state(method.generator_state())
    given = states(method, batch)  # once: a condition may add noise to them
    with torch.no_grad():
        first, second = (m.eval().translate(batch["image"], *given) for m in (method, other))
    assert torch.equal(first, second) and first.shape == batch["image"].shape
    assert first.min() >= -1 and first.max() <= 1


def counted(forward: Callable[..., Tensor], passes: dict[int, int], index: int) -> Callable[..., Tensor]:
    """`forward`, each call of which adds one to `passes[index]`."""

    def counting(*inputs: Tensor) -> Tensor:
        passes[index] += 1
        return forward(*inputs)

    return counting


def check_recompute(make: Callable[[], Any]) -> None:
    """Features that are computed again: gradients and running statistics of the same bits, every listed layer twice."""
    results = []
    for again in (False, True):
        method = make().train()
        passes = dict.fromkeys(range(len(method.compiled)), 0)
        for index, module in enumerate(method.compiled):
            leaf = next(part for part in module.modules() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d))
            leaf.forward = counted(leaf.forward, passes, index)  # type: ignore[method-assign]
            if again:
                recompute(module)
        torch.manual_seed(7)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            total, _ = method.generator_loss(make_batch(method_size(method)), 0)
        total.backward()
        results.append((method, passes))
    (kept, once), (forgot, twice) = results
    assert twice == {index: 2 * count for index, count in once.items()} and min(once.values()) > 0
    for (name, one), other in zip(kept.named_parameters(), forgot.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), name
        assert one.grad is None or torch.equal(one.grad, other.grad), name
    for (name, one), other in zip(kept.named_buffers(), forgot.buffers(), strict=True):
        assert torch.equal(one, other), name


def check_compile(make: Callable[[], Any]) -> None:
    """Every listed network is traced as a whole, and the gradients are those of an untraced one."""
    gradients = []
    for traced in (False, True):
        torch.compiler.reset()
        # As the training loop has it: this format goes another way through instance normalisation on a CPU.
        method = make().train().to(memory_format=torch.channels_last)
        graphs = dict.fromkeys(range(len(method.compiled)), 0)
        for index, module in enumerate(method.compiled) if traced else ():
            compile_network(module, backend=partial(count_graph, graphs, index))
        torch.manual_seed(7)
        total, _ = method.generator_loss(make_batch(method_size(method)), 0)
        total.backward()
        gradients.append({name: p.grad for name, p in method.named_parameters() if p.grad is not None})
    assert min(graphs.values()) > 0
    plain, compiled = gradients
    assert plain.keys() == compiled.keys()
    for name, gradient in plain.items():
        # Two ways to normalise round differently, and a rectifier near zero makes more of it: weights changed by 1e-7
        # of themselves change gradients of networks this small by 3 %.
        assert (compiled[name] - gradient).norm() <= 5e-2 * gradient.norm() + 1e-5, name


def count_graph(graphs: dict[int, int], index: int, graph: Any, _: Any) -> Callable[..., Any]:
    """A backend of `torch.compile` that compiles nothing and counts what it is given."""
    graphs[index] += 1
    forward: Callable[..., Any] = graph.forward
    return forward


def method_size(method: Any) -> int:
    """Side of the images that a method of these tests was made for."""
    return int(getattr(method, "image_size", SIZE))
