"""Part (a): the tests marked `gpu`."""

import os
import re
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from typing import Any

from gpu_parts.accelerator import ROOT
from gpu_parts.job import Job

_OUTCOMES = "(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)"
_OUTCOME = re.compile(rf"^(?P<test>\S+::.+?) {_OUTCOMES}\b|^\[gw\d+\] \[ *\d+%\] {_OUTCOMES} (?P<other>\S+::.+)$")
WORKERS = 4
"""Processes that share the device, where pytest-xdist and so many cores are there: small networks leave it idle."""
_NOTHING_COLLECTED = 5
FOLDER = "tests/gpu"


def run(job: Job) -> None:
    """Run them and report how many passed, and which did not, while they run."""
    if find_spec("pytest") is None:
        job.report({"skipped": "pytest is not installed here: pip install pytest"})
        return
    if not (ROOT / FOLDER).is_dir():
        job.report({"skipped": f"there is no folder {FOLDER}"})
        return
    options = ["-m", "gpu", "-vv", "-o", "addopts=", "-p", "no:cacheprovider", "--tb=short", "-rs", "--color=no"]
    if find_spec("xdist") is not None and (os.cpu_count() or 1) >= 2 * WORKERS:
        options += ["-n", str(WORKERS)]
    counts: Counter[str] = Counter()
    failed: list[str] = []
    tail: list[str] = []
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, FOLDER],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="")
        tail = [*tail[-400:], line.rstrip()]
        found = _OUTCOME.match(line)
        if found:
            outcome = found[2] or found[3]
            counts[outcome.lower()] += 1
            if outcome in ("FAILED", "ERROR"):
                failed.append(found["test"] or found["other"])
            job.report(_findings(counts, failed, [], None))
    status = process.wait()
    job.report(_findings(counts, failed, _explanations(tail), status))


def _findings(counts: Counter[str], failed: list[str], explained: list[str], status: int | None) -> dict[str, Any]:
    findings: dict[str, Any] = {"counts": dict(counts), "failed": failed}
    if explained:
        findings["explained"] = explained
    if status is None:
        findings["note"] = "the tests had not come to their end"
    elif status == _NOTHING_COLLECTED:
        findings["skipped"] = f"no test in {FOLDER} is marked gpu"
    elif status not in (0, 1):
        findings["failure"] = f"pytest ended with status {status}"
    return findings


def _explanations(tail: list[str]) -> list[str]:
    """The lines that say what was expected, and the reasons of skipped tests."""
    return [line[:300] for line in tail if re.match(r"^(E  |SKIPPED \[|_{3,} )", line)][-80:]
