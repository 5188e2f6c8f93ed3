from pathlib import Path
from typing import Any

import pytest
from torch import nn

from mimik.errors import UserError
from mimik.training.devices import compile_network, run_environment


def test_the_environment_names_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "processor\t: 0\nmodel name\t: Made-up 3000 @ 2: GHz\n")
    assert run_environment()["processor"] == "Made-up 3000 @ 2: GHz"

    def absent(*_: Any, **__: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", absent)
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert run_environment()["processor"] == "arm"


def test_compiling_for_a_processor_asks_for_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler++")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match=r"no-such-compiler\+\+.*apt install g\+\+"):
        compile_network(nn.Identity())
