"""Every input in a process of its own: how does it end?"""

import os
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import torch

from mimik.datasets.listing import UnusableError
from mimik.errors import UserError
from mimik.faces import photograph
from tests.fuzz.damage import Case
from tests.fuzz.inputs import KINDS

SECONDS = 60
MEMORY = 12 << 30
SENTENCES = (UserError, UnusableError, photograph.UnreadableError)
"""What people read, and what becomes a row of the quarantine."""


def listed(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of every file below a folder."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if not path.is_dir():
            found[path] = (status.st_size, status.st_mtime_ns)
    return found


def tried(case: Case, report: Path) -> str:
    """How a case ends in a process of its own: result, sentence, traceback, signal or time; it tells into `report`."""
    process = os.fork()
    if process == 0:
        ending = "traceback"
        try:
            with report.open("w", encoding="utf-8", errors="backslashreplace") as told:
                os.dup2(told.fileno(), 1)
                os.dup2(told.fileno(), 2)
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
                try:
                    case.action()
                    ending = "result"
                except SENTENCES as error:
                    print(error)
                    ending = "sentence"
                except SystemExit as ended:
                    ending = "sentence" if ended.code == 2 else "traceback"
                except BaseException:
                    traceback.print_exc(file=told)
        finally:
            os._exit(("result", "sentence", "traceback").index(ending))
    begun = time.monotonic()
    while time.monotonic() - begun < SECONDS:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            if os.WIFSIGNALED(status):
                return "signal"
            return ("result", "sentence", "traceback")[os.WEXITSTATUS(status)]
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return "time"


BAD = ("traceback", "signal", "time", "changed")


def run(kinds: list[str], count: int, seed: int, folder: Path) -> dict[str, Counter[str]]:
    """Try all, print the table; how the inputs of every kind ended."""
    torch.set_num_threads(1)
    columns = ("inputs", "result", "sentence", *BAD)
    print(f"{'kind':10}" + "".join(f"{name:>10}" for name in columns) + "   slowest")
    found: dict[str, Counter[str]] = {}
    for kind in kinds:
        counted = found[kind] = Counter()
        slowest, report = 0.0, folder / "report.txt"
        for case in KINDS[kind](random.Random(f"{kind} {seed}"), folder / kind, count):
            before, begun = listed(folder / kind), time.monotonic()
            ending = tried(case, report)
            slowest = max(slowest, time.monotonic() - begun)
            after = listed(folder / kind)
            changed = [
                path
                for path in before.keys() | after.keys()
                if before.get(path) != after.get(path) and (case.output is None or case.output not in path.parents)
            ]
            counted.update(["inputs", ending, *(["changed"] if changed else [])])
            if changed or ending in BAD:
                told = report.read_text(encoding="utf-8")[-1500:]
                print(f"--- {kind}: {case.name}: {ending} {changed[:3] or ''}\n{told}", file=sys.stderr)
        print(f"{kind:10}" + "".join(f"{counted[name]:>10}" for name in columns) + f"{slowest:9.1f} s", flush=True)
    totals = sum(found.values(), Counter[str]())
    print(f"{'all':10}" + "".join(f"{totals[name]:>10}" for name in columns))
    return found
