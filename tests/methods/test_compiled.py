"""The settings `recompute` and `compile` for every method: the same gradients, with less memory or in less time."""

import pytest

from mimik.errors import UserError
from tests.methods import test_ef_gan
from tests.methods.world import check_compile, check_recompute
from tests.tasks import TASKS

pytestmark = pytest.mark.slow

NAMES = (
    "stargan", "stargan demo", "hier_seg", "hier_seg full", "attgan", "ganimation", "gannotation", "cyclegan", "icgan",
    "relative_au",
)  # fmt: skip
MAKERS = {name: TASKS[name] for name in NAMES} | {"ef_gan": lambda: test_ef_gan.make(spectral_norm=False)}


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_are_the_same_to_the_bit(name: str) -> None:
    check_recompute(MAKERS[name])


@pytest.mark.parametrize("name", [*MAKERS, "ef_gan spectral"])
def test_networks_are_compiled_as_a_whole(name: str) -> None:
    check_compile(MAKERS.get(name, test_ef_gan.make))


def test_spectral_normalisation_is_refused() -> None:
    with pytest.raises(UserError, match="spectral_norm: false"):
        check_recompute(test_ef_gan.make)
