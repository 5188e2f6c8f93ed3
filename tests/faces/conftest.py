"""A real photograph that every installation has, and a reconstructor that is loaded once."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mimik.faces.reconstruction.reconstruct import Face, Reconstructor, Rejected


@pytest.fixture(scope="session")
def photograph() -> np.ndarray:
    """uint8 (512, 512, 3): Eileen Collins, NASA, public domain."""
    from skimage.data import astronaut

    image: np.ndarray = astronaut()
    return image


@pytest.fixture(scope="session")
def reconstructor() -> Reconstructor:
    pytest.importorskip("mediapipe")
    return Reconstructor([128, 64])


@pytest.fixture(scope="session")
def face(photograph: np.ndarray, reconstructor: Reconstructor) -> Face:
    found = reconstructor(photograph)
    assert not isinstance(found, Rejected)
    return found


@pytest.fixture
def interrupted_after(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], list[int]]]:
    """Make the n-th following reconstruction raise KeyboardInterrupt; the list counts reconstructions."""
    count = [0]

    def set_up(limit: int) -> list[int]:
        original = Reconstructor.__call__

        def counted(self: Reconstructor, *arguments: object) -> Face | Rejected:
            count[0] += 1
            if count[0] == limit:
                raise KeyboardInterrupt
            return original(self, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(Reconstructor, "__call__", counted)
        return count

    yield set_up
