"""Which machine and which code a measurement belongs to, and how its table is written."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def describe() -> dict[str, str]:
    """Processor with its widest instructions, cores, memory, GPU, versions, commit and date."""
    import torch

    processor = platform.processor()
    cpuinfo, instructions = Path("/proc/cpuinfo"), "unknown"
    if cpuinfo.exists():
        known = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        told = {key.strip(): value.strip() for key, value in known.items()}
        processor = told.get("model name", processor)
        flags = told.get("flags", "").split()
        instructions = next((name for name in ("avx512f", "avx2", "avx", "sse2") if name in flags), instructions)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    dirty = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=ROOT, capture_output=True, text=True).stdout
    return {
        "processor": f"{processor}, {os.cpu_count()} cores, {memory:.0f} GiB",
        "instructions": instructions,
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "commit": commit.strip() + (" with changes" if dirty.strip() else ""),
        "date": datetime.now(UTC).date().isoformat(),
    }


def write_table(path: Path, rows: list[dict[str, Any]], facts: dict[str, float], machine: dict[str, str]) -> None:
    """Write `path`.json and `path`.md, and print the latter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(
        json.dumps({"machine": machine, "rows": rows, "facts": facts}, indent=2) + "\n"
    )

    def cell(value: Any) -> str:
        if isinstance(value, list):
            return " to ".join(cell(item) for item in value)
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    names = list(rows[0])
    lines = [f"# {path.name.replace('_', ' ')}", "", "; ".join(f"{k} {v}" for k, v in machine.items()), ""]
    lines += ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(cell(row[name]) for name in names) + " |" for row in rows]
    lines += ["", *(f"- {name}: {value:.3g}" for name, value in facts.items()), ""]
    path.with_suffix(".md").write_text("\n".join(lines))
    print("\n".join(lines))
