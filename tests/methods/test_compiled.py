"""The settings `recompute` and `compile` for every method: the same gradients, with less memory or in less time."""

from collections.abc import Callable
from typing import Any

import pytest

from mimik.errors import UserError
from tests.methods import (
    test_attgan,
    test_cyclegan,
    test_ef_gan,
    test_ganimation,
    test_gannotation,
    test_icgan,
    test_methods,
    test_relative_au,
)
from tests.methods.world import check_compile, check_recompute

MAKERS: dict[str, Callable[[], Any]] = {
    "stargan": lambda: test_methods.make("stargan"),
    "stargan demo": lambda: test_methods.make("stargan", **test_methods.DEMO),
    "hier_seg": lambda: test_methods.make("hier_seg"),
    "hier_seg full": lambda: test_methods.make("hier_seg", fusion_reconstruction="full"),
    "attgan": test_attgan.make,
    "ganimation": test_ganimation.make,
    "gannotation": test_gannotation.make,
    "cyclegan": test_cyclegan.make,
    "icgan": test_icgan.make,
    "relative_au": test_relative_au.make,
    "ef_gan": lambda: test_ef_gan.make(spectral_norm=False),
}


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_are_the_same_to_the_bit(name: str) -> None:
    check_recompute(MAKERS[name])


@pytest.mark.parametrize("name", [*MAKERS, "ef_gan spectral"])
def test_networks_are_compiled_as_a_whole(name: str) -> None:
    check_compile(MAKERS.get(name, test_ef_gan.make))


def test_spectral_normalisation_is_refused() -> None:
    with pytest.raises(UserError, match="spectral_norm: false"):
        check_recompute(test_ef_gan.make)
