"""The inputs of `tests.fuzz`, a few of each kind: that it still tries what it says."""

from pathlib import Path

import pytest

from tests.fuzz.inputs import KINDS
from tests.fuzz.trying import BAD, run


@pytest.mark.slow
def test_inputs_of_every_kind_end_well(tmp_path: Path) -> None:
    found = run(list(KINDS), 2, 0, tmp_path)
    assert list(found) == list(KINDS) and all(counted["inputs"] >= 2 for counted in found.values())
    assert not [kind for kind, counted in found.items() if any(counted[name] for name in BAD)]
