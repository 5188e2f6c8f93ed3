import shutil
from pathlib import Path

import pytest

from mimik.reporting.results import Result
from mimik.study.key import Key
from mimik.study.pages import make
from tests import results_world as world


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """Two methods on faces with true targets."""
    root = tmp_path_factory.mktemp("two")
    world.make_store(root, truth=True)
    return [world.make(root, "first", shift=40), world.make(root, "second", shift=50)]


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """Three methods on faces without true targets."""
    root = tmp_path_factory.mktemp("three")
    return [world.make(root, name, shift=shift) for name, shift in (("a", 40), ("b", 50), ("c", 60))]


@pytest.fixture(scope="session")
def made(two: list[Result], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Key]:
    """A study of 12 pairs of each question for 4 raters, 2 of them shown twice."""
    folder = tmp_path_factory.mktemp("made") / "study"
    return folder, make(two, folder, pairs=12, raters=4, repeats=2, seed=3)[0]


@pytest.fixture
def study(made: tuple[Path, Key], tmp_path: Path) -> tuple[Path, Key]:
    """The same, in a folder that a test may change."""
    return shutil.copytree(made[0], tmp_path / "study"), made[1]
