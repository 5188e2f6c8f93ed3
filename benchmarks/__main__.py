"""`python -m benchmarks` (or `make bench`): all measurements, in the order in which they need each other."""

import subprocess
import sys
from pathlib import Path

STEPS = ("step_time", "--methods", "--batch", "4", "--rounds", "1")

for name, *options in (
    ("step_time",),
    STEPS,
    *(
        (name,)
        for name in ("memory", "input_pipeline", "renderer", "preparation", "scale", "evaluation_scale", "face_mesh")
    ),
):
    print(f"benchmarks/{name}.py", file=sys.stderr)
    subprocess.run([sys.executable, str(Path(__file__).with_name(f"{name}.py")), *options], check=True)
