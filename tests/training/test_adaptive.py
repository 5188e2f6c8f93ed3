"""A probability of augmentation that follows the critic, in the training loop."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mimik.components.adversary import AdversaryConfig
from mimik.components.augmentation import Augmentation, AugmentationConfig
from mimik.errors import UserError
from mimik.pretraining.depth_network import DepthNetworkConfig
from mimik.settings import modules
from mimik.settings.configuration import build
from mimik.settings.params import SCHEMA, load, resolve
from mimik.training.engine import Engine
from mimik.training.loop import TrainingConfig
from mimik.training.processes import sum_over_processes
from tests.methods import test_cyclegan, test_ef_gan, test_icgan, test_methods
from tests.tasks import PLAIN, TASKS, Drawn, flat, stepped

RULES = AugmentationConfig(adaptive=True, probability=0.3, target=0.0, every=8, images=40)
CRITIC = AdversaryConfig(conv_dim=8, layers=3, objective="hinge", per_class=True, augmentation=RULES)
ADAPTIVE: dict[str, Callable[[], Any]] = {
    "stargan": TASKS["stargan lazy"],
    "hier_seg": lambda: test_methods.make("hier_seg", local_adversary=CRITIC),
    "ef_gan": lambda: test_ef_gan.make(local_adversary=dataclasses.replace(CRITIC, layers=2)),
    "cyclegan": lambda: test_cyclegan.make(augmentation=RULES),
    "icgan": lambda: test_icgan.make(augmentation=RULES),
}


def probabilities(engine: Engine) -> list[float]:
    return [float(part.p) for part in engine.task.modules() if isinstance(part, Augmentation) and part.adaptive]


@pytest.mark.slow
@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_resumed_run_has_the_bits_of_an_undisturbed_one(name: str) -> None:
    undisturbed, history = stepped(ADAPTIVE[name], 7)
    assert all(probability != RULES.probability for probability in probabilities(undisturbed))
    first, before = stepped(ADAPTIVE[name], 4)
    torch.manual_seed(1)
    again = Engine(ADAPTIVE[name](), TrainingConfig(**PLAIN), torch.device("cpu"), seed=3)
    again.load_state(first.state())
    after = []
    for step in range(4, 7):
        for found in again.run_step(step, Drawn(again.task, again.device)):
            after.append({term: float(value) for part in found for term, value in part.items()})
    assert before + after == history
    states = flat(undisturbed.state()), flat(again.state())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert any("augmentation.tally" in key for key in states[0])


def test_the_history_has_p() -> None:
    _, history = stepped(TASKS["stargan lazy"], 6)
    seen = [row["discriminator/p"] for row in history if "discriminator/p" in row]
    assert seen[0] == pytest.approx(0.3) and len(set(seen)) > 1


def _sum(rank: int, place: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=2)
    values = [torch.tensor([1.0, 2.0]) * (rank + 1), torch.tensor(10.0 * rank)]
    sum_over_processes(values)
    if rank:
        torch.save(values, f"{place}/sums.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_processes_sum_what_their_critics_think(tmp_path: Path) -> None:
    mp.spawn(_sum, (str(tmp_path),), nprocs=2)  # type: ignore[attr-defined, no-untyped-call]
    first, second = torch.load(tmp_path / "sums.pt", weights_only=True)
    assert first.tolist() == [3.0, 6.0] and second == 10


def test_alone_nothing_is_summed() -> None:
    value = torch.tensor([1.0])
    sum_over_processes([value])
    sum_over_processes([])
    assert value == 1


def configs(value: Any) -> Iterator[AugmentationConfig]:
    """Every augmentation in a group of settings."""
    if isinstance(value, AugmentationConfig):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from configs(getattr(value, field.name))


def test_published_settings_have_it_off() -> None:
    every = [modules.named("methods", name, "").Config() for name in modules.names("methods")]
    every += [modules.named("guidance", name, "").Config() for name in modules.names("guidance")]
    every += [DepthNetworkConfig()]
    for config in every:
        found = list(configs(config))
        assert found and not any(augmentation.on for augmentation in found), config
    params = load(Path(__file__).parents[2] / "params.yaml", Path(__file__).parents[2] / SCHEMA)
    for method in params["methods"]:
        assert "augmentation" not in str(resolve(params, "synthetic", method, "paper")), method


def test_old_settings_are_read_and_refused() -> None:
    """Results of earlier versions have `augment: 0.0` in their config.json."""
    assert build(AdversaryConfig, {"augment": 0.0}, "here") == AdversaryConfig()
    with pytest.raises(UserError, match=r"here: augment, which .* use augmentation, for example"):
        build(AdversaryConfig, {"augment": 0.12}, "here")
    with pytest.raises(UserError, match=r"here\.augmentation: unknown setting turn"):
        build(AdversaryConfig, {"augmentation": {"turn": 3}}, "here")
