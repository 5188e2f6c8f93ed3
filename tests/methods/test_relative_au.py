"""relative_au: equations by independent formulas, gradients, what the generator is told, exact resume."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mimik.components.adversary import AdversaryConfig
from mimik.errors import UserError
from mimik.methods import relative_au
from mimik.settings.configuration import build
from mimik.training.loop import TrainingConfig, train
from tests.methods.world import SIZE, check_generator_learns, check_round_trip, check_updates, make_batch, make_context
from tests.tiny import make_store

ADVERSARY = AdversaryConfig(conv_dim=8, layers=3, lambda_classification=150.0)
DEMO: dict[str, Any] = {
    "stem": "unshuffle",
    "head": "masked",
    "critic_updates": 1,
    "reuse_fake": True,
    "adversary": AdversaryConfig(
        conv_dim=8, layers=3, objective="hinge", r1_gamma=1.0, per_class=True, unit_loss="logistic",
        initialisation="kaiming",
    ),
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "published": {},
    "k0": {"k_msf": 0},
    "k1": {"k_msf": 1},
    "text": {"msf": "text"},
    "demo": DEMO,
}


def make(size: int = SIZE, condition: dict[str, Any] | None = None, **changes: Any) -> relative_au.Method:
    torch.manual_seed(0)
    config = relative_au.Config(**{"conv_dim": 4, "max_conv_dim": 16, "adversary": ADVERSARY, **changes})
    context = make_context(size, **{**relative_au.CONDITION, **(condition or {})})
    return relative_au.Method(config, context)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_few_steps_lower_the_generator_loss(variant: str) -> None:
    check_generator_learns(make(**VARIANTS[variant]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_update_reaches_its_own_network(variant: str) -> None:
    method = make(**VARIANTS[variant])
    check_updates(method, [method.discriminator], [method.generator])


@pytest.mark.parametrize("variant", VARIANTS)
def test_state_round_trip(variant: str) -> None:
    check_round_trip(lambda: make(**VARIANTS[variant]))


@pytest.mark.parametrize("form", ["relative", "absolute"])
def test_generator_loss_is_eq_9(form: str) -> None:
    exact = {"form": form, "source_noise": 0.0, "target_noise": 0.0}
    method, batch = make(condition=exact).train(), make_batch()
    x, v_src, v_tgt = batch["image"], batch["action_units"], batch["target_action_units"]
    relative = form == "relative"
    total, terms = method.generator_loss(batch, 0)
    with torch.no_grad():
        fake = method.generator(x, v_tgt - v_src if relative else v_tgt)
        realness, units, _ = method.discriminator.network(fake)
        unchanged = method.generator(x, torch.zeros_like(v_src) if relative else v_src)
        back = method.generator(fake, v_src - v_tgt if relative else v_src)
        variation = sum(fake.diff(dim=axis).abs().sum() for axis in (2, 3))
        expected = {
            "adv": -realness.mean(),
            "cls": ((units[:, 0] - v_tgt) ** 2).mean(),
            "self": (x - unchanged).abs().mean(),
            "cycle": (x - back).abs().mean(),
            "tv": variation,
        }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name].detach(), value, rtol=1e-4, atol=1e-5)
    weights = {"adv": 1.0, "cls": 150.0, "self": 30.0, "cycle": 30.0, "tv": 5e-6}
    torch.testing.assert_close(total, sum(weights[name] * value for name, value in terms.items()))
    assert torch.equal(batch["edited"], fake)


def test_discriminator_loss_is_eq_8() -> None:
    exact = {"source_noise": 0.0, "target_noise": 0.0}
    method, batch = make(condition=exact).train(), make_batch()
    torch.manual_seed(4)
    total, terms = method.discriminator_loss(batch, 0)
    x, v_src = batch["image"], batch["action_units"]
    with torch.no_grad():
        fake = method.generator(x, batch["target_action_units"] - v_src)
    torch.testing.assert_close(batch["fake"], fake)
    (real_map, units, _), (fake_map, _, _) = method.discriminator.network(x), method.discriminator.network(fake)
    torch.manual_seed(4)
    between = torch.lerp(fake, x, torch.rand(len(x), 1, 1, 1)).requires_grad_()
    (slope,) = torch.autograd.grad(method.discriminator.network(between)[0].sum(), between)
    penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
    cond = ((units[:, 0] - v_src) ** 2).mean()
    expected = fake_map.mean() - real_map.mean() + 10 * penalty + 150 * cond
    torch.testing.assert_close(total.detach(), expected.detach(), rtol=1e-4, atol=1e-4)
    assert set(terms) == {"adv", "cls", "gp"}


def test_the_penalty_as_a_step_of_its_own() -> None:
    """Both totals add up to Eq. 8; the second step reaches D alone, and leaves zeros where the penalty has no slope."""
    exact = {"source_noise": 0.0, "target_noise": 0.0}
    joint, separate = (make(condition=exact, gp_step=how).train() for how in ("joint", "separate"))
    assert [update.name for update in joint.updates] == ["discriminator", "generator"]
    assert [(update.name, update.repeats, update.shares) for update in separate.updates] == [
        ("discriminator", 4, None),
        ("penalty", 4, "discriminator"),
        ("generator", 1, None),
    ]
    torch.manual_seed(4)
    expected, terms = joint.discriminator_loss(make_batch(), 0)
    torch.manual_seed(4)
    batch = make_batch()
    drawn = torch.get_rng_state()
    rest, rest_terms = separate.discriminator_loss(batch, 0)
    torch.set_rng_state(drawn)
    penalty, penalty_terms = separate.penalty_loss(batch, 0)
    assert set(rest_terms) == {"adv", "cls"} and set(penalty_terms) == {"gp"}
    torch.testing.assert_close(penalty_terms["gp"], terms["gp"])
    torch.testing.assert_close(penalty, 10 * terms["gp"])
    torch.testing.assert_close(rest + penalty, expected)
    penalty.backward()
    network = separate.discriminator.network
    assert not network.class_head.weight.grad.any() and network.trunk[0].weight.grad.any()
    assert all(p.grad is not None for p in network.parameters())
    assert all(p.grad is None for p in separate.generator.parameters())


def test_the_penalty_makes_the_fake_that_is_missing() -> None:
    method, batch = make(gp_step="separate").train(), make_batch()
    penalty, _ = method.penalty_loss(batch, 0)
    assert torch.isfinite(penalty) and not batch["fake"].requires_grad


def test_a_separate_penalty_needs_one() -> None:
    with pytest.raises(ValueError, match="wgan-gp"):
        make(gp_step="separate", adversary=dataclasses.replace(ADVERSARY, objective="hinge"))


def test_zero_asks_for_no_change_and_the_cycle_is_told_the_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch = make().train(), make_batch()
    told: list[Tensor] = []
    forward = method.generator.forward

    def spy(images: Tensor, condition: Tensor) -> Tensor:
        told.append(condition)
        return forward(images, condition)

    monkeypatch.setattr(method.generator, "forward", spy)
    method.generator_loss(batch, 0)
    edit, unchanged, cycle = told
    assert not unchanged.any() and edit.abs().max() > 0.1
    assert torch.equal(cycle, -edit)
    away = edit - (batch["target_action_units"] - batch["action_units"])
    assert 0.05 < away.abs().max() <= 0.12, "noise of 0.02 on the source, of 0.1 on the target"


def test_reductions_by_hand() -> None:
    """The mean over the batch's images against the sum, the sum over 17 units against the mean."""
    batch = make_batch()
    exact = {"source_noise": 0.0, "target_noise": 0.0}
    usual, per_image = (make(condition=exact, tv_reduction=how) for how in ("batch_sum", "per_image"))
    summed = make(condition=exact, cond_reduction="sum")
    terms, other = usual.generator_loss(batch, 0)[1], per_image.generator_loss(batch, 0)[1]
    torch.testing.assert_close(terms["tv"], 8 * other["tv"])
    difference = summed.generator_loss(batch, 0)[0] - usual.generator_loss(batch, 0)[0]
    torch.testing.assert_close(difference, 150 * 16 * terms["cls"], rtol=1e-3, atol=1e-3)


def test_lazy_reconstruction_keeps_its_weight_on_average() -> None:
    exact = {"source_noise": 0.0, "target_noise": 0.0}
    always, lazy, batch = make(condition=exact), make(condition=exact, reconstruction_every=4), make_batch()
    usual, never, due = (m.generator_loss(batch, s)[0] for m, s in ((always, 4), (lazy, 5), (lazy, 4)))
    both = always.generator_loss(batch, 4)[1]
    rec = 30 * (both["self"] + both["cycle"])
    torch.testing.assert_close(due - never, 4 * rec, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(usual - never, rec, rtol=1e-4, atol=1e-4)


def test_the_head_start_trains_on_action_units_alone() -> None:
    method, batch = make(critic_head_start=5), make_batch()
    assert set(method.discriminator_loss(batch, 4)[1]) == {"cls"} and "fake" not in batch
    assert method.updates[1].start == 5
    assert "adv" in method.discriminator_loss(batch, 5)[1]


def test_a_reused_fake_is_the_one_that_would_have_been_made() -> None:
    exact = {"source_noise": 0.0, "target_noise": 0.0}
    method, batch = make(condition=exact, reuse_fake=True, critic_updates=1), make_batch()
    assert [update.name for update in method.updates] == ["generator", "discriminator"]
    fresh = make_batch()
    method.generator_loss(batch, 0)
    for given in (batch, fresh):
        method.discriminator_loss(given, 0)
    assert torch.equal(batch["fake"], batch["edited"]) and not batch["fake"].requires_grad
    torch.testing.assert_close(batch["fake"], fresh["fake"])


def test_published_schedule_ends_at_a_tenth() -> None:
    config = build(TrainingConfig, dict(relative_au.TRAINING), "relative_au")
    assert config.rate(0) == config.rate(93_749) == 1e-4
    assert config.rate(config.steps) == pytest.approx(1e-5)
    assert [(u.name, u.repeats) for u in make().updates] == [("discriminator", 4), ("generator", 1)]


def test_resume_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise on the states is drawn from (seed, step), so a killed run ends with the bits of an undisturbed one."""
    store = make_store(tmp_path / "store", size=32)
    config = TrainingConfig(steps=4, batch_size=4, learning_rate=1e-3, ema=0.9, checkpoint_seconds=0.0)

    def run(directory: str) -> relative_au.Method:
        method = make(critic_updates=2)
        arguments: dict[str, Any] = {"seed": 1, "checkpoint_dir": tmp_path / directory, "fingerprint": {}}
        train(method, store, store.rows("train"), config, label="test", **arguments)
        return method

    undisturbed = run("a")
    loss = relative_au.Method.generator_loss

    def failing(self: relative_au.Method, batch: dict[str, Tensor], step: int) -> Any:
        if step == 2:
            raise RuntimeError("power cut")
        return loss(self, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(relative_au.Method, "generator_loss", failing)
        with pytest.raises(RuntimeError, match="power cut"):
            run("b")
    assert (tmp_path / "b" / "last.pt").exists()
    resumed = run("b")
    for (name, one), other in zip(undisturbed.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_settings_are_strict() -> None:
    with pytest.raises(UserError, match=r"k_msff.*k_msf"):
        build(relative_au.Config, {"k_msff": 3}, "methods.relative_au")
    with pytest.raises(ValueError, match="k_msf"):
        make(k_msf=4)
    with pytest.raises(ValueError, match="at least 1"):
        relative_au.Config(critic_updates=0)


def test_the_mask_of_small_scales_is_neither_open_nor_closed_at_the_start() -> None:
    method, batch = make(**DEMO), make_batch()
    _, change = method.generator.edit(batch["image"], batch["target_action_units"] - batch["action_units"])
    assert change is not None and 0.05 < float(change.detach().mean()) < 0.9
