"""Lengths in epochs and learning rates that change between epochs."""

import pytest

from mimik.training.schedule import TrainingConfig, Update

UPDATES = (Update("discriminator", 5), Update("generator"))


@pytest.mark.parametrize(
    ("faces", "least", "steps"),
    [(1_197, 1, 11_970), (200_000, 1, 2_000_000), (1_197, 20_000, 20_000), (1, 1, 10)],
)
def test_epochs_are_counted_in_batches_of_the_most_frequent_update(faces: int, least: int, steps: int) -> None:
    """EF-GAN on RaFD: 100 epochs of 1,197 faces in batches of 2, five of which make a step."""
    config = TrainingConfig(epochs=100, steps=least, batch_size=2).counted(faces, UPDATES)
    assert config.steps == steps
    assert config.counted(faces, UPDATES) == config


def test_without_epochs_the_length_stays() -> None:
    config = TrainingConfig(steps=77)
    assert config.counted(5, UPDATES) is config


def test_a_rate_that_falls_per_epoch_is_that_of_ganimation() -> None:
    """20 epochs at 1e-4, then a tenth of it less in each of the next, which have 0.1e-4 in the last."""
    config = TrainingConfig(
        epochs=30, steps=3_000, learning_rate=1e-4, schedule="linear", decay_start=2 / 3, decay_every="epoch"
    )
    rates = [[config.rate(100 * epoch + step) for step in (0, 50, 99)] for epoch in range(30)]
    for epoch, within in enumerate(rates):
        expected = 1e-4 if epoch <= 20 else 1e-4 * (1 - (epoch - 20) / 10)
        assert within == pytest.approx([expected] * 3)


@pytest.mark.parametrize("faulty", [{"epochs": 0}, {"decay_every": "epoch"}])
def test_impossible_lengths_are_refused(faulty: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="epoch"):
        TrainingConfig(**faulty)  # type: ignore[arg-type]
