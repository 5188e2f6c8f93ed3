"""A copy of CFEE in the making: photographs as the caller writes them, and the CSV that labels them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mimik.datasets.cfee import CATEGORIES

WORDS = ("neutral", "happy", "sad", "surprised", "fearful", "disgusted", "angry")


def release(
    raw: Path, photo: Callable[[Path], object], subjects: int = 10, categories: int = len(CATEGORIES)
) -> list[tuple[str, str, str]]:
    """Every subject with the first of the 22 categories, the basic ones in CFEE's words: rows of the CSV."""
    rows = []
    for subject in range(subjects):
        for position, label in enumerate((*WORDS, *CATEGORIES[7:])[:categories]):
            path = f"Basic/{subject}_{position}.png" if position < 7 else f"Compound/{subject}_{position}.png"
            (raw / path).parent.mkdir(parents=True, exist_ok=True)
            photo(raw / path)
            rows.append((path, label, f"s{subject}"))
    return rows


def write(raw: Path, rows: Sequence[tuple[str, str, str]], name: str = "manifest.csv") -> Path:
    (raw / name).write_text("\n".join(["path,label,subject", *(",".join(row) for row in rows)]) + "\n")
    return raw
