"""Whatever lies in a folder of photographs: a result, or one sentence."""

import random
from pathlib import Path

import pytest

from mimik.errors import UserError
from mimik.inspection import archives
from tests.datasets.hostile_folders import make


@pytest.mark.parametrize("seed", range(60))
def test_a_hostile_folder_ends_in_a_result_or_in_a_sentence(tmp_path: Path, seed: int) -> None:
    root = tmp_path / "raw"
    root.mkdir()
    module, options = make(random.Random(seed), root)
    before = sorted(path.as_posix() for path in tmp_path.rglob("*"))
    try:
        lines = list(archives.inspect(module, module, root, options, 0, None))
    except UserError as error:
        assert str(error)
    else:
        "\n".join(lines).encode()  # can be printed
        assert lines[-1] == "  usable   yes"
    assert sorted(path.as_posix() for path in tmp_path.rglob("*")) == before
