"""What mimik does on a GPU, measured by one command: tests, step times, input, a training, evaluation.

    make gpu-check      or      python benchmarks/gpu.py [--minutes 8] [--only a,b] [--skip d] [--output DIR]

Needs torch with CUDA, numpy, pandas, pillow, scipy, scikit-image, safetensors, tqdm, filelock, pyyaml and psutil; for
part (a) pytest. Without a CUDA device it says so and ends with status 0. The parts run one after the other, each in a
process of its own with a part of the time that is left; what one of them does not need the next ones get.

(a) the tests marked `gpu`;
(b) time and peak memory of training steps: a plain loop of float32 (`plain`: torch's own settings, with which cuDNN
    uses TF32; `plain strict`: without TF32) against mimik's engine with its automatic settings (`auto`), without
    compiling and CUDA graphs (`eager`), with graphs (`graphs`), and with both (`compiled`). The floor of a step is the
    larger of two times: its operations at the measured rate of bfloat16 matrices, and the bytes that the optimisers
    move at least (32 of every parameter and update: gradient written and read, weight and moments read and written) at
    the measured rate of copies;
(c) the share of a step that batches from a store cost, against one constant batch on the device;
(d) StarGAN and hier_seg trained on rendered faces of 128 px, translated and evaluated;
(e) throughput of translation and of evaluation's networks.

Results are written after every part, and while it runs: gpu.json and gpu.md, with pictures of (d) beside them. Parts
that were not asked for stay there if they were measured on the same card at the same commit.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [folder for folder in (str(ROOT / "src"), str(Path(__file__).parent)) if folder not in sys.path]

from gpu_parts import report  # noqa: E402
from gpu_parts.accelerator import available, describe  # noqa: E402
from gpu_parts.job import Job, follow, last_lines, start, stop  # noqa: E402

WEIGHTS = {"a": 18, "b": 42, "c": 4, "d": 31, "e": 5}
"""Shares of the time that is left when a part starts, of those that still wait."""
GRACE = {"a": 1.3, "b": 1.0, "c": 2.0, "d": 1.25, "e": 1.5}
"""How much longer than its share a part may take before it is ended: those that plan their time need little."""
SECONDS_EACH = 6
"""Kept for every part that still waits, whatever the one before it takes."""


def main() -> None:
    """Measure and write the tables; or, with `--job`, be the process of one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything together")
    parser.add_argument("--only", default="a,b,c,d,e", help="letters of the parts, with commas between them")
    parser.add_argument("--skip", default="", help="likewise, of parts to be left out")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--train-seconds", type=float, default=180.0, help="of each training of (d), if there is time")
    parser.add_argument("--methods", default="stargan,hier_seg", help="which of the two are trained in (d)")
    parser.add_argument("--profile", action="store_true", help="write the kernels that take longest in (b)")
    parser.add_argument("--commit", help="what is measured; else the variable MIMIK_COMMIT, else git's answer")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help=argparse.SUPPRESS)
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("gpu-check: ended by SIGTERM"))
    if arguments.job:
        signal.signal(signal.SIGTERM, _leave)
        run_job(Job(**json.loads(arguments.job.read_text())))
        return
    chosen, left_out = (_letters(parser, text) for text in (arguments.only, arguments.skip))
    parts = [part for part in WEIGHTS if part in chosen and part not in left_out]
    if arguments.device == "cuda" and not available():
        print("gpu-check: there is no CUDA device that torch can use here, so nothing was measured.")
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mimik-gpu-", ignore_cleanup_errors=True) as work:
        Check(arguments, parts, work).run()


def _leave(_number: int, frame: FrameType | None) -> None:
    """End the process of a part as it was asked to, and say where it was."""
    traceback.print_stack(frame, limit=-6)
    sys.exit(128 + signal.SIGTERM)


def _letters(parser: argparse.ArgumentParser, text: str) -> list[str]:
    letters = [letter.strip() for letter in text.split(",") if letter.strip()]
    if unknown := set(letters) - set(WEIGHTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; the parts are {', '.join(WEIGHTS)}")
    return letters


def run_job(job: Job) -> None:
    """Be the process of a part."""
    from gpu_parts import pipeline, steps, suite, throughput, trainings

    if job.part == "machine":
        job.report(describe(job.device))
    elif job.part == "render":
        trainings.render(job)
    elif job.part.startswith("b-"):
        steps.work(job)
    else:
        {"a": suite, "b": steps, "c": pipeline, "d": trainings, "e": throughput}[job.part].run(job)


class Check:
    """One run of the command."""

    def __init__(self, arguments: argparse.Namespace, parts: list[str], work: str) -> None:
        self.parts = parts
        self.begun = time.time()
        self.end = self.begun + 60 * arguments.minutes
        self.output: Path = arguments.output.resolve()
        self.job = Job(
            "",
            arguments.device,
            arguments.tiny,
            self.end,
            str(self.output),
            work,
            arguments.train_seconds,
            arguments.profile,
            tuple(arguments.methods.split(",")),
        )
        machine = self._machine(arguments.commit)
        settings = {"minutes": arguments.minutes, "train_seconds": arguments.train_seconds, "tiny": arguments.tiny}
        self.found = report.earlier(self.output, machine, parts) | {part: {"waiting": True} for part in parts}
        self.record = {"machine": machine, "settings": settings, "parts": self.found}
        self.rendering: dict[str, Any] | None = None

    def _machine(self, commit: str | None) -> dict[str, str]:
        """Card and versions, asked by another process: this one is to hold nothing of the device."""
        job = self.job.of("machine")
        fault = follow(start(job), job, lambda: self.end, lambda found: None)
        if fault:
            sys.exit(f"gpu-check: the device cannot be described; its process {fault}")
        return job.told() | ({"commit": commit} if commit else {})

    def run(self) -> None:
        """All parts, whatever happens to each."""
        rendering = None
        if "d" in self.parts and "a" in self.parts:
            # Faces are rendered by the processor while the tests run, which measure no time.
            rendering = self.job.of("render")
            process = start(rendering)
        try:
            for part in self.parts:
                if part != "a" and rendering is not None:
                    latest = time.time() + max(10.0, 0.2 * (self.end - time.time()))
                    fault = follow(process, rendering, lambda latest=latest: latest, lambda found: None)
                    self.rendering = {"failure": fault} if fault else rendering.told()
                    rendering = None
                self.one(part)
        finally:
            if rendering is not None:
                stop(process)
            self.write()
        print(report.screen(self.record))
        print(f"{self.output / 'gpu.md'} and gpu.json; {time.time() - self.begun:.0f} s in all.")

    def one(self, part: str) -> None:
        """One part, in a process of its own."""
        left = self.end - time.time()
        waiting = self.parts[self.parts.index(part) :]
        share = left * WEIGHTS[part] / sum(WEIGHTS[other] for other in waiting)
        begun = time.time()
        job = self.job.of(part, deadline=begun + share)
        latest = max(begun + 5, self.end - SECONDS_EACH * (len(waiting) - 1))
        until = min(begun + GRACE[part] * share + 5, latest)
        print(f"({part}) {report.TITLES[part]}: {share:.0f} s", flush=True)

        def changed(found: dict[str, Any]) -> None:
            self.found[part] = {"seconds": time.time() - begun, "share_s": share, **found}
            if part == "d" and self.rendering is not None:
                self.found[part].setdefault("rendering", self.rendering)
            self.write()

        fault = follow(start(job), job, lambda: until, changed)
        changed(job.told())
        if fault:
            self.found[part]["failure"] = fault
            print(f"({part}) {fault}", file=sys.stderr, flush=True)
        elif not job.told():
            self.found[part]["failure"] = f"reported nothing\n{last_lines(job.log)}"
        self.write()

    def write(self) -> None:
        """Both files, each in one piece."""
        for name, text in (
            ("gpu.json", json.dumps(self.record, indent=2) + "\n"),
            ("gpu.md", report.markdown(self.record)),
        ):
            temporary = self.output / f".{name}.{os.getpid()}"
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.output / name)


if __name__ == "__main__":
    main()
