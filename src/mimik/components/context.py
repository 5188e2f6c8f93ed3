"""What a method is built from: the same for all methods, so that all are created, stored and loaded the same way."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from mimik.components.conditions import Condition


@dataclass(frozen=True)
class Context:
    """The context of a method.

    Attributes:
        condition: the condition of its generator, with the classes of the dataset.
        image_size: side of the images in pixels.
        pretrained: networks that it starts from, by kind (`segmenter`, ...; see `mimik.settings.params.PRETRAINED`);
            the method owns them and may train them.
    """

    condition: Condition
    image_size: int
    pretrained: dict[str, nn.Module] = field(default_factory=dict)

    def needed(self, kind: str, who: str) -> nn.Module:
        """The pre-trained network of a kind. Raises `ValueError` if there is none."""
        if kind not in self.pretrained:
            raise ValueError(f"{who} needs a pre-trained network of the kind {kind!r}; name one in params.yaml")
        return self.pretrained[kind]


def stored_state(generator: nn.Module, condition: Condition) -> dict[str, Tensor]:
    """Weights of a generator by name, with those of its condition under `condition.`."""
    state = {name: value.contiguous() for name, value in generator.state_dict().items()}
    return {**state, **{f"condition.{name}": value for name, value in condition.state_dict().items()}}


def load_stored_state(state: Mapping[str, Tensor], generator: nn.Module, condition: Condition) -> None:
    """Inverse of `stored_state`. Raises `RuntimeError` when names or shapes differ."""
    told = {name.removeprefix("condition."): value for name, value in state.items() if name.startswith("condition.")}
    condition.load_state_dict(told)
    generator.load_state_dict({name: value for name, value in state.items() if not name.startswith("condition.")})
