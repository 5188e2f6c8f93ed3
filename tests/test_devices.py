from pathlib import Path
from typing import Any

import pytest

from mimik.devices import run_environment


def test_the_environment_names_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "processor\t: 0\nmodel name\t: Made-up 3000 @ 2: GHz\n")
    assert run_environment()["processor"] == "Made-up 3000 @ 2: GHz"

    def absent(*_: Any, **__: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", absent)
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert run_environment()["processor"] == "arm"
