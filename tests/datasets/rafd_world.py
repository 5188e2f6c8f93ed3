"""Photographs with the names of RaFD, as the caller writes them."""

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

WORDS = ("neutral", "happy", "sad", "surprised", "fearful", "disgusted", "angry", "contemptuous")
ANGLES = ("000", "045", "090", "135", "180")
GAZES = ("left", "frontal", "right")


def release(
    raw: Path,
    photo: Callable[[Path], object],
    people: Sequence[str],
    angles: Sequence[str] = ANGLES,
    gazes: Sequence[str] = GAZES,
) -> Path:
    """All photographs of some models, such as 28_Caucasian_male."""
    raw.mkdir(parents=True, exist_ok=True)
    for person, angle, word, gaze in product(people, angles, WORDS, gazes):
        photo(raw / f"Rafd{angle}_{person}_{word}_{gaze}.jpg")
    return raw
