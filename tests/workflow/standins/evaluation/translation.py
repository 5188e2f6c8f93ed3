"""Stand-in: translations that are their generator."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TranslationSettings:
    batch_size: int
    limit: int | None
    seed: int


def translate(result_dir, store_dir, segmenter_dir, output_dir, settings, *, segmented_dir=None):
    generator = Path(result_dir, "generator.safetensors").read_text()
    if segmenter_dir is not None:
        generator += Path(segmenter_dir, "model.safetensors").read_text()
    if segmented_dir is not None:
        generator += Path(segmented_dir, "manifest.json").read_text()
    arrays = ("images", "cycle", "masks", "strengths", "action_units", "unit_changes", "exemplars", "guided_maps")
    for name in (*(f"{array}.npy" for array in arrays), "manifest.json"):
        Path(output_dir, name).write_text(generator)
