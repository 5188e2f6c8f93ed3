"""Stand-in: writes what the rule declares, from its settings, in no time."""

import json
from pathlib import Path


def prepare(dataset, options, raw, output, *, module_name, seed, workers, mirror, work, segment):
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / "index.csv").write_text(f"id,split\n{dataset},train\n")
    (output / "quarantine.csv").write_text("path,stage,reason\n")
    (output / "refused.csv").write_text("path,reason\n")
    (output / f"images_{options['sizes'][0]}.npy").write_bytes(b"pixels")
    (output / "manifest.json").write_text(
        json.dumps(
            {"digest": "d", "options": options, "seed": seed, "raw": str(raw), "masks": segment and segment.record}
        )
    )
