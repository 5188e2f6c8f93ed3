"""The record of a run as Markdown and as a short table on the screen."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpu_parts.cases import ENGINE

TITLES = {
    "a": "tests marked gpu",
    "b": "training steps",
    "c": "input pipeline",
    "d": "trainings on rendered faces",
    "e": "throughput of evaluation",
}
VARIANTS = ("plain", "plain strict", *ENGINE)
METRICS = {
    "eea": ("EEA", "{:.1%}"),
    "truth_psnr_changed": ("PSNR changed, dB", "{:.2f}"),
    "copy_truth_psnr_changed": ("of a copy", "{:.2f}"),
    "truth_psnr": ("PSNR whole, dB", "{:.2f}"),
    "copy_truth_psnr": ("of a copy", "{:.2f}"),
    "truth_ssim": ("SSIM", "{:.4f}"),
}
NOTHING = "–"


def earlier(output: Path, machine: Mapping[str, str], parts: Sequence[str]) -> dict[str, Any]:
    """Findings of other parts than `parts` that stand in the output folder, of the same machine, code and versions."""
    try:
        record = json.loads((output / "gpu.json").read_text(encoding="utf-8"))
        before = {key: value for key, value in record["machine"].items() if key != "date"}
        kept = {part: found for part, found in record["parts"].items() if part in TITLES and part not in parts}
    except (OSError, ValueError, KeyError):
        return {}
    return kept if before == {key: value for key, value in machine.items() if key != "date"} else {}


def markdown(record: Mapping[str, Any]) -> str:
    """gpu.md."""
    lines = ["# gpu", "", "; ".join(f"{name} {value}" for name, value in record["machine"].items())]
    settings = record["settings"]
    lines += ["", f"{settings['minutes']:g} minutes in all" + (", tiny networks" if settings["tiny"] else "") + "."]
    written = {"a": _tests, "b": _steps, "c": _pipeline, "d": _trainings, "e": _throughput}
    for part in TITLES:
        found = record["parts"].get(part)
        if found is None:
            continue
        lines += ["", f"## ({part}) {TITLES[part]}", ""]
        if found.get("waiting"):
            lines.append("Not measured yet.")
            continue
        spent = f"{found['seconds']:.0f} s"
        if "share_s" in found:
            spent += f" of the {found['share_s']:.0f} s that it was given"
        lines += [f"{spent}.", ""]
        for key in ("skipped", "failure"):
            if key in found:
                lines += [f"{key.capitalize()}:", "", *_quoted(found[key]), ""]
        lines += written[part](found)
        lines += [f"- {note}" for note in found.get("notes", [])]
    return "\n".join(lines).rstrip() + "\n"


def screen(record: Mapping[str, Any]) -> str:
    """The short table."""
    parts = record["parts"]
    rows: list[list[str]] = []
    for part in TITLES:
        found = parts.get(part)
        if found is None or found.get("waiting"):
            continue
        state = "failed" if "failure" in found else "skipped" if "skipped" in found else "done"
        rows.append([f"({part})", TITLES[part], state, _short(part, found)])
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = ["", f"{record['machine']['card']}; torch {record['machine']['torch']}; {record['machine']['commit']}"]
    for row in rows:
        first, *others = row[3].split("\n")
        start = "  ".join(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True))
        lines.append(f"{start}  {first}")
        lines += [" " * (len(start) + 2) + other for other in others]
    return "\n".join(lines)


def _short(part: str, found: Mapping[str, Any]) -> str:
    if part == "a":
        return ", ".join(f"{count} {name}" for name, count in found.get("counts", {}).items()) or NOTHING
    if part == "b":
        lines = []
        for row in found.get("rows", []):
            plain, auto = (_ms(row, name) for name in ("plain", "auto"))
            memory = row["variants"].get("auto", {}).get("allocated_mib")
            cells = [f"{_name(row)}: plain {_n(plain)} ms, auto {_n(auto)} ms"]
            cells += [f"{plain / auto:.2f} times"] if plain and auto else []
            cells += [f"{auto / row['floor_ms']:.1f} floors"] if auto and row.get("floor_ms") else []
            cells += [f"{memory / 1024:.2f} GiB"] if memory else []
            lines.append(", ".join(cells))
        return "\n".join(lines) or NOTHING
    if part == "c":
        return "\n".join(
            f"{row['way']}: {row['share_percent']:.2f} % of a step (quartiles "
            f"{' to '.join(f'{value:.2f}' for value in row['quartiles_percent'])})"
            for row in found.get("rows", [])
        )
    if part == "d":
        lines = []
        for row in found.get("rows", []):
            shown = [
                f"{METRICS[name][0]} {METRICS[name][1].format(row['metrics'][name])}"
                for name in METRICS
                if name in row.get("metrics", {})
            ]
            length = f"{_n(row.get('seconds'))} s, {row.get('steps', NOTHING)} steps"
            lines.append(f"{row['method']}: {length}; {', '.join(shown)}")
        return "\n".join(lines) or NOTHING
    if part == "e":
        rows = [row for row in found.get("rows", []) if "images_per_s" in row]
        return "\n".join(f"{row['what']} {row['size']} px: {row['images_per_s']:.0f} images/s" for row in rows)
    return NOTHING


def _tests(found: Mapping[str, Any]) -> list[str]:
    lines = []
    if "counts" in found:
        lines.append(", ".join(f"{count} {name}" for name, count in found["counts"].items()) or "No test was run.")
    if found.get("note"):
        lines.append(f"But {found['note']}.")
    if found.get("failed"):
        lines += ["", "Failed:", "", *(f"- `{name}`" for name in found["failed"])]
    if found.get("explained"):
        lines += ["", *_quoted("\n".join(found["explained"]))]
    return [*lines, ""]


def _steps(found: Mapping[str, Any]) -> list[str]:
    lines = []
    measured = found.get("rates")
    if measured:
        lines += [
            f"Measured rates: {measured['bf16_flop_per_s'] / 1e12:.1f} TFLOP/s of bfloat16 matrices, "
            f"{measured['copied_bytes_per_s'] / 1e12:.3f} TB/s read and written by a copy.",
            "",
            "Milliseconds of a step (size in px / batch); in brackets plain divided by it.",
            "",
        ]
    rows = found.get("rows", [])
    if not rows:
        return lines
    lines += _table(
        ["case", *VARIANTS, "floor", "auto / floor", "Tflop"],
        (
            [
                _name(row),
                *(_variant(row, name) for name in VARIANTS),
                _floor(row),
                f"{auto / row['floor_ms']:.2f}" if (auto := _ms(row, "auto")) and row.get("floor_ms") else NOTHING,
                f"{row['flop'] / 1e12:.3f}" if "flop" in row else NOTHING,
            ]
            for row in rows
        ),
    )
    lines += [
        "",
        "Floors: o by operations, b by the bytes of the optimisers. Peak memory in MiB: allocated / reserved / "
        "allocated once the first steps are done (what a graph uses is reserved for good, and allocated while it is "
        "recorded):",
        "",
        *_table(["case", *VARIANTS], ([_name(row), *(_memory(row, name) for name in VARIANTS)] for row in rows)),
    ]
    lines += ["", "Seconds until the first steps were done (building, compiling, capturing):", ""]
    shown = [[_name(row), *(_n(row["variants"].get(name, {}).get("start_s")) for name in VARIANTS)] for row in rows]
    lines += [*_table(["case", *VARIANTS], shown), ""]
    for row in rows:
        for name, entry in row["variants"].items():
            if "kernel_ms" in entry:
                busy = entry["kernel_ms"] / entry["wall_ms"]
                lines.append(
                    f"- {_name(row)}, {name.removeprefix('profile ')}: kernels {entry['kernel_ms']:.2f} ms of "
                    f"{entry['wall_ms']:.2f} ms a step by the clock ({busy:.0%}); {entry['table']}"
                )
            if name.startswith("prime ") and "start_s" in entry:
                lines.append(
                    f"- {_name(row)}, {name.removeprefix('prime ')}: {entry['start_s']:.0f} s to the end of the first "
                    "steps with nothing compiled before, while other cases were compiled as well"
                )
            if entry.get("clock_ms", 0) > 1.03 * entry.get("ms", 0) > 0:
                lines.append(f"- {_name(row)}, {name}: {entry['clock_ms']:.4g} ms by the clock, more than by events")
            for key in ("skipped", "failure"):
                if key in entry:
                    lines.append(f"- {_name(row)}, {name}, {key}: {' / '.join(entry[key].splitlines())}")
    return [*lines, *_told_settings(rows)]


def _told_settings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How the first case's variants stood with TF32 and the like."""
    lines = []
    for name in VARIANTS:
        entry = rows[0]["variants"].get(name, {})
        if "settings" in entry:
            told = ", ".join(f"{key} {value}" for key, value in entry["settings"].items())
            lines.append(f"- {name}: {told}" + (f", networks in {entry['dtype']}" if "dtype" in entry else ""))
    return lines


def _pipeline(found: Mapping[str, Any]) -> list[str]:
    lines = ["Networks compiled." if found.get("compiled") else "Networks not compiled.", ""]
    for row in found.get("rows", []):
        low, high = row["quartiles_percent"]
        least, most = row["range_percent"]
        lines.append(
            f"- {row['way']}: {row['case']}, {row['faces']} faces: {row['store_ms']:.3f} ms a step with batches of the "
            f"store, {row['constant_ms']:.3f} ms with one constant batch; {row['share_percent']:.2f} % of the step "
            f"(quartiles {low:.2f} to {high:.2f}, all {least:.2f} to {most:.2f}; {row['rounds']} rounds of "
            f"{row['steps_a_round']} steps each, in turns)"
        )
    return lines


def _trainings(found: Mapping[str, Any]) -> list[str]:
    lines = []
    if "seconds" in found.get("rendering", {}) and "pictures" in found["rendering"]:
        told = found["rendering"]
        lines.append(
            f"{told['pictures']} pictures of {told['size']} px rendered in {told['seconds']:.1f} s on {told['cores']} "
            f"cores ({told['pictures_per_s']:.0f} a second); identities: {_listed(told['identities'])}."
        )
    elif "failure" in found.get("rendering", {}):
        lines += ["Rendering beside the tests failed:", "", *_quoted(found["rendering"]["failure"])]
    for kind in ("classifier", "segmenter"):
        if kind in found:
            lines.append(f"Pre-trained {kind}: {_listed(found[kind])}.")
    rows = found.get("rows", [])
    if rows:
        names = [f"{title} ({name})" if title == "of a copy" else title for name, (title, _) in METRICS.items()]
        lines += ["", *_table(["method", "s", "steps", "ms a step", *names], (_training(row) for row in rows))]
    lines += ["", "Settings, beside those of the scale `demo` of params.yaml:", "", "```json"]
    lines += [json.dumps(found.get("scale", {}), indent=1), "```"]
    for row in rows:
        if "settings" in row:
            lines += ["", f"{row['method']}: `{json.dumps(row['settings'])}`"]
    return [*lines, ""]


def _training(row: Mapping[str, Any]) -> list[str]:
    metrics = row.get("metrics", {})
    values = [shape.format(metrics[name]) if name in metrics else NOTHING for name, (_, shape) in METRICS.items()]
    return [row["method"], _n(row.get("seconds")), str(row.get("steps", NOTHING)), _n(row.get("step_ms")), *values]


def _throughput(found: Mapping[str, Any]) -> list[str]:
    rows = found.get("rows", [])
    lines = _table(
        ["what", "px", "batch", "images/s", "slowest to fastest pass", "allocated MiB"],
        (
            [
                row["what"],
                str(row["size"]),
                str(row["batch"]),
                f"{row['images_per_s']:.0f}",
                " to ".join(f"{value:.0f}" for value in row["range"]),
                _n(row["allocated_mib"]),
            ]
            for row in rows
            if "images_per_s" in row
        ),
    )
    failures = [f"- {row['what']} {row['size']} px: {row['failure']}" for row in rows if "failure" in row]
    return [*lines, "", *failures]


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['method']} {row['size']}/{row['batch']}"


def _ms(row: Mapping[str, Any], variant: str) -> float | None:
    value = row["variants"].get(variant, {}).get("ms")
    return None if value is None else float(value)


def _variant(row: Mapping[str, Any], name: str) -> str:
    entry = row["variants"].get(name)
    if entry is None:
        return NOTHING
    if "ms" not in entry:
        return "skipped" if "skipped" in entry else "failed"
    plain = _ms(row, "plain")
    return _n(entry["ms"]) + (f" ({plain / entry['ms']:.2f})" if plain and not name.startswith("plain") else "")


def _floor(row: Mapping[str, Any]) -> str:
    if "floor_ms" not in row:
        return NOTHING
    return f"{_n(row['floor_ms'])} {'o' if row['floor_ms'] == row['floor_operations_ms'] else 'b'}"


def _memory(row: Mapping[str, Any], name: str) -> str:
    entry = row["variants"].get(name, {})
    if entry.get("allocated_mib") is None:
        return NOTHING
    return f"{entry['allocated_mib']:.0f} / {entry['reserved_mib']:.0f} / {entry['later_allocated_mib']:.0f}"


def _n(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4g}"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_n(value) if isinstance(value, float) else value}" for key, value in values.items())


def _quoted(text: str) -> list[str]:
    return ["```", *text.splitlines(), "```"]
