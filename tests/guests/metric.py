"""Share of the pixels that are black."""

from mimik.evaluation.measurements import Entry, Measurements

NAMES = ("black_share", "black_share_copy")
PROTOCOL = "Share of pixels that are black in every channel."
HIGHER_IS_BETTER = {"black_share": False, "black_share_copy": None}
UNIT = dict.fromkeys(NAMES, "")
FORMAT = dict.fromkeys(NAMES, "{:.1%}")


def compute(measurements: Measurements) -> dict[str, Entry]:
    def share(images: object) -> object:
        return (images.max(-1) == 0).mean((-2, -1))  # type: ignore[attr-defined]

    edits = measurements.per_image("black", lambda part: share(measurements.translations[part]))  # type: ignore[arg-type, return-value]
    inputs = measurements.per_image("black", lambda part: share(measurements.sources[part]))  # type: ignore[arg-type, return-value]
    pairs = (edits, inputs[:, None].repeat(edits.shape[1], 1))
    keep = measurements.other
    return {
        name: measurements.mean_entry(values, keep, None, PROTOCOL) for name, values in zip(NAMES, pairs, strict=True)
    }
