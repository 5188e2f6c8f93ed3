"""GANimation: its losses by independent formulas, the keep-mask, gradients, exact resume."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mimik.components.adversary import AdversaryConfig
from mimik.methods import ganimation
from mimik.settings.configuration import build
from mimik.training.loop import TrainingConfig, train
from tests.methods.world import SIZE, check_generator_learns, check_round_trip, check_updates, make_batch, make_context
from tests.tiny import make_store

ADVERSARY = AdversaryConfig(conv_dim=8, layers=3, lambda_classification=160.0)
DEMO: dict[str, Any] = {
    "stem": "unshuffle",
    "critic_updates": 1,
    "reuse_fake": True,
    "adversary": AdversaryConfig(
        conv_dim=8, layers=3, objective="hinge", r1_gamma=1.0, per_class=True, unit_loss="logistic",
        initialisation="kaiming",
    ),
}  # fmt: skip
EXACT = {"target_noise": 0.0}


def make(size: int = SIZE, condition: dict[str, Any] | None = None, **changes: Any) -> ganimation.Method:
    torch.manual_seed(0)
    config = ganimation.Config(**{"conv_dim": 8, "residual_blocks": 1, "adversary": ADVERSARY, **changes})
    return ganimation.Method(config, make_context(size, **{**ganimation.CONDITION, **(condition or {})}))


@pytest.mark.parametrize("changes", [{}, DEMO], ids=["published", "demo"])
def test_it_learns_reaches_its_networks_and_is_stored(changes: dict[str, Any]) -> None:
    check_generator_learns(make(**changes))
    method = make(**changes)
    check_updates(method, [method.discriminator], [method.generator])
    check_round_trip(lambda: make(**changes))


@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_generator_loss_by_an_independent_formula(form: str) -> None:
    method, batch = make(condition={**EXACT, "form": form}).train(), make_batch()
    x, v_s, v_t = batch["image"], batch["action_units"], batch["target_action_units"]
    total, terms = method.generator_loss(batch, 0)

    def generate(image: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Colour and mask from the last layer's four channels, put together by eq. 1."""
        outputs: list[Tensor] = []
        handle = method.generator.last.register_forward_hook(lambda _m, _x, out: outputs.append(out))
        method.generator(image, told)
        handle.remove()
        colour, mask = torch.tanh(outputs[0][:, :3]), torch.sigmoid(-outputs[0][:, 3:])
        return mask * image + (1 - mask) * colour, mask

    with torch.no_grad():
        fake, mask = generate(x, v_t - v_s if form == "relative" else v_t)
        again, back = generate(fake, v_s - v_t if form == "relative" else v_s)
        realness, units, _ = method.discriminator.network(fake)
        variation = sum(a.diff(dim=axis).abs().sum() for a in (mask, back) for axis in (2, 3))
        expected = {
            "adv": -realness.mean(),
            "cls": ((units[:, 0] - v_t) ** 2).mean(),
            "cycle": (x - again).abs().mean(),
            "attention": mask.mean() + back.mean(),
            "smooth": variation / len(x),
        }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name].detach(), value, rtol=1e-4, atol=1e-5)
    weights = {"adv": 1.0, "cls": 160.0, "cycle": 10.0, "attention": 0.1, "smooth": 2.5e-4}
    torch.testing.assert_close(total, sum(weights[name] * value for name, value in terms.items()))


def test_discriminator_loss_by_an_independent_formula() -> None:
    method, batch = make(condition=EXACT).train(), make_batch()
    torch.manual_seed(4)
    total, terms = method.discriminator_loss(batch, 0)
    x, v_s = batch["image"], batch["action_units"]
    (real_map, units, _), (fake_map, _, _) = (method.discriminator.network(i) for i in (x, batch["fake"]))
    expected = fake_map.mean() - real_map.mean() + 160 * ((units[:, 0] - v_s) ** 2).mean() + 10 * terms["gp"]
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-4)


def test_a_mask_of_one_keeps_the_input_and_zero_replaces_it() -> None:
    method, batch = make(), make_batch()
    x, v_t = batch["image"], batch["target_action_units"]
    with torch.no_grad():
        for logit, kept in ((-200.0, True), (200.0, False)):
            # The mask's logits from one channel of constant features.
            method.generator.last.weight[3:] = 0.0
            handle = method.generator.last.register_forward_hook(
                lambda _m, _x, out, logit=logit: torch.cat([out[:, :3], torch.full_like(out[:, 3:], logit)], 1)
            )
            edited, mask = method.edit(x, v_t, v_t)
            handle.remove()
            assert float(mask.mean()) == float(kept)
            assert torch.equal(edited, x) is kept


def test_the_mask_is_neither_open_nor_closed_at_the_start() -> None:
    for changes in ({}, DEMO):
        method, batch = make(**changes), make_batch()
        _, mask = method.edit(batch["image"], batch["action_units"], batch["target_action_units"])
        assert 0.1 < float(mask.detach().mean()) < 0.95


def test_attention_alone_drives_the_masks_from_keeping_the_input() -> None:
    """0.1 mean(A) with A = 1 where the input is kept: minimising it opens the mask."""
    method, batch = make(), make_batch()
    before = method.edit(batch["image"], batch["action_units"], batch["target_action_units"])[1].mean()
    optimiser = torch.optim.Adam(method.generator.parameters(), lr=2e-3)
    for _ in range(5):
        optimiser.zero_grad()
        method.generator_loss(batch, 0)[1]["attention"].backward()
        optimiser.step()
    after = method.edit(batch["image"], batch["action_units"], batch["target_action_units"])[1].mean()
    assert after < before


def test_lazy_cycle_keeps_its_weight_on_average() -> None:
    always, lazy, batch = make(condition=EXACT), make(condition=EXACT, reconstruction_every=4), make_batch()
    usual, never, due = (m.generator_loss(batch, s)[0] for m, s in ((always, 4), (lazy, 5), (lazy, 4)))
    torch.testing.assert_close(due - never, 4 * (usual - never), rtol=1e-4, atol=1e-4)
    assert "cycle" not in lazy.generator_loss(batch, 5)[1]


def test_published_schedule() -> None:
    config = build(TrainingConfig, dict(ganimation.TRAINING), "ganimation")
    assert config.rate(31_999) == pytest.approx(1e-4) and config.rate(40_000) == pytest.approx(5e-5)
    assert config.rate(config.steps) == 0 and config.batch_size == 25
    assert [(u.name, u.repeats) for u in make().updates] == [("discriminator", 5), ("generator", 1)]


def test_resume_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path / "store")
    config = TrainingConfig(steps=4, batch_size=4, learning_rate=1e-3, ema=0.9, checkpoint_seconds=0.0)

    def run(directory: str) -> ganimation.Method:
        method = make(16, critic_updates=2, adversary=AdversaryConfig(conv_dim=8, layers=2))
        arguments: dict[str, Any] = {"seed": 1, "checkpoint_dir": tmp_path / directory, "fingerprint": {}}
        train(method, store, store.rows("train"), config, label="test", **arguments)
        return method

    undisturbed = run("a")
    loss = ganimation.Method.generator_loss

    def failing(self: ganimation.Method, batch: dict[str, Tensor], step: int) -> Any:
        if step == 2:
            raise RuntimeError("power cut")
        return loss(self, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(ganimation.Method, "generator_loss", failing)
        with pytest.raises(RuntimeError, match="power cut"):
            run("b")
    resumed = run("b")
    for (name, one), other in zip(undisturbed.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
