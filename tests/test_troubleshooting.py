"""The messages that docs/troubleshooting.md explains are messages that the source really has."""

import re
from functools import cache
from pathlib import Path

from snakemake.exceptions import LockException

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "troubleshooting.md"


@cache
def source() -> str:
    """All code of mimik, and the Makefile, with texts over several lines joined; names of Snakemake's faults."""
    files = [*sorted((ROOT / "src" / "mimik").rglob("*.py")), ROOT / "Makefile"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return re.sub(r'"\s*\n\s*\+? ?[fr]{0,2}"', "", text) + f'\n"{LockException.__name__}"'


def said(message: str) -> bool:
    """Whether the source says a message in which … stands for what varies."""
    pieces = [re.escape(piece) for piece in re.split(r"\s*…\s*", message) if piece]
    return re.search(r"[^\n]{1,200}?".join(pieces), source()) is not None


def test_every_message_that_is_explained_is_one_of_the_source() -> None:
    headings = re.findall(r"^### `(.+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(headings) > 20
    assert [message for message in headings if not said(message)] == []


def test_a_message_of_nobody_is_noticed() -> None:
    assert said("…: no such folder. …") and not said("…: no such folders. …")
    assert not said("The … loss is quite finite at step …; …")
