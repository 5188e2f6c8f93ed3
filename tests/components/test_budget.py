"""What serves small budgets: who sees which fake, what is computed when, and how options are put together."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from mimik.components import budget, losses
from mimik.components.budget import LazyReconstruction, Options, OutputHead, Rounds
from mimik.labels import IGNORED, SEGMENTATION_CLASSES
from mimik.pretraining.depth_network import DepthNetworkConfig
from mimik.settings.modules import names
from mimik.training.runs import guide_module, method_module

CONFIGS: list[Any] = [
    *(method_module(name).Config for name in names("methods")),
    *(guide_module(name).Config for name in names("guidance")),
    DepthNetworkConfig,
]


@dataclass(frozen=True)
class Everything(Rounds, LazyReconstruction, OutputHead):
    own: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.own < 1:
            raise ValueError("own must be at least 1")


def make_fake() -> Tensor:
    assert not torch.is_grad_enabled()
    return torch.ones(2)


def no_fake() -> Tensor:
    raise AssertionError("made although there was one")


def test_a_critic_that_is_trained_alone_sees_no_fake() -> None:
    batch: dict[str, Tensor] = {}
    rounds = Rounds(critic_head_start=3)
    assert [rounds.alone(step) for step in (0, 2, 3)] == [True, True, False]
    assert budget.fake(rounds, batch, 2, no_fake) is None and batch == {}
    assert budget.fake(rounds, batch, 3, make_fake) is batch["fake"]


def test_a_fake_is_made_once_and_only_where_the_generator_left_none() -> None:
    batch: dict[str, Tensor] = {}
    made = budget.made(batch, make_fake)
    assert torch.equal(made, torch.ones(2)) and budget.made(batch, no_fake) is made
    edited = torch.rand(2, requires_grad=True) * 2
    reused = budget.made({"edited": edited}, no_fake)
    assert torch.equal(reused, edited) and not reused.requires_grad


def test_a_term_is_due_every_so_many_steps_as_many_times_as_strong() -> None:
    assert [budget.due(step, 3) for step in range(7)] == [3, 0, 0, 3, 0, 0, 3]
    assert [budget.due(step, 1) for step in range(3)] == [1, 1, 1]


def test_changes_are_weighed_and_summed() -> None:
    config = OutputHead(head="masked", lambda_change=2.0, lambda_smooth=3.0)
    first, second = torch.rand(2, 1, 4, 4), torch.rand(2, 1, 2, 2)
    terms = {"adv": torch.ones(())}
    total, found = budget.restrained(config, torch.ones(()), terms, {}, first, None, second)
    torch.testing.assert_close(found["change"], first.mean() + second.mean())
    torch.testing.assert_close(found["smooth"], losses.total_variation(first) + losses.total_variation(second))
    torch.testing.assert_close(total, 1 + 2 * found["change"] + 3 * found["smooth"])
    assert list(found) == ["adv", "change", "smooth"]
    direct = budget.restrained(OutputHead(), torch.ones(()), terms, {}, None)
    assert direct == (torch.ones(()), {"adv": torch.ones(())})


def test_change_away_from_the_parts_is_weighed() -> None:
    config, skin, mouth = (
        OutputHead(lambda_outside=2.0),
        SEGMENTATION_CLASSES.index("skin"),
        SEGMENTATION_CLASSES.index("u_lip"),
    )
    assert config.reads == {"mask"} and not OutputHead().reads
    mask = torch.full((1, 32, 32), skin)
    mask[0, 16, 16], mask[0, 0, 0] = mouth, IGNORED
    image = torch.zeros(1, 3, 32, 32)
    changed = torch.zeros(1, 3, 32, 32)
    changed[0, :, 14:19, 14:19] = 1  # within two pixels of the mouth, a sixteenth of the side
    changed[0, :, :3, :3] = 1
    total, found = budget.restrained(config, torch.ones(()), {}, {"mask": mask, "image": image, "edited": changed})
    assert float(total) == 1 and float(found["outside"]) == 0
    changed[0, 0, 20, 16] = -0.3
    total, found = budget.restrained(config, torch.ones(()), {}, {"mask": mask, "image": image, "edited": changed})
    assert float(found["outside"]) == pytest.approx(0.1 / (32 * 32 - 25 - 9))
    torch.testing.assert_close(total, 1 + 2 * found["outside"])
    nothing = {"mask": torch.full_like(mask, IGNORED), "image": image, "edited": changed}
    assert float(budget.restrained(config, torch.ones(()), {}, nothing)[0]) == 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"critic_updates": 0}, "critic_updates"),
        ({"reconstruction_every": 0}, "reconstruction_every"),
        ({"lambda_smooth": 0.1}, "a head other than direct"),
        ({"own": 0}, "own"),
    ],
)
def test_a_config_checks_the_options_of_all_classes_that_it_inherits(values: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Everything(**values)  # type: ignore[arg-type]
    assert dataclasses.replace(Everything(), head="masked", lambda_smooth=0.1).lambda_smooth == 0.1


@pytest.mark.parametrize(
    "config",
    [c for c in CONFIGS if issubclass(c, Options)],
    ids=lambda config: f"{config.__module__}.{config.__name__}",
)
def test_no_config_leaves_the_checks_of_what_it_inherits_out(config: Any) -> None:
    for options, wrong in (
        (Rounds, {"critic_updates": 0}),
        (LazyReconstruction, {"reconstruction_every": 0}),
        (OutputHead, {"lambda_change": 0.1}),
    ):
        if issubclass(config, options):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                config(**wrong)


def test_options_at_their_limits() -> None:
    usual = Everything()
    assert (usual.critic_updates, usual.critic_head_start, usual.reuse_fake) == (5, 0, False)
    assert (usual.reconstruction_every, usual.head, usual.lambda_change, usual.lambda_smooth) == (1, "direct", 0.0, 0.0)
    assert Everything(critic_updates=1, reconstruction_every=1).critic_updates == 1
    with pytest.raises(ValueError, match="a head other than direct"):
        Everything(lambda_change=0.1)
    assert Everything(head="residual", lambda_change=0.1).head == "residual"
    assert not usual.alone(0) and Rounds(critic_head_start=1).alone(0)
