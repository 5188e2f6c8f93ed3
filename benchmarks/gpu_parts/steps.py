"""Part (b): time and memory of training steps.

Variants run in workers: an engine's settings of kernels must not reach the plain loop, a case that breaks the device
must not take the next ones with it, and compiling may hang. The three main cases come first; the other `systems` fill
the time that is left, some at a time with all their variants.
"""

import subprocess
import time
import traceback
from typing import Any

from gpu_parts.cases import Bench, Case, auto_compiles, floor, rates
from gpu_parts.job import Job, follow, start, stop

MAIN = (Case("stargan", 128, 16), Case("stargan", 256, 8), Case("hier_seg", 256, 8))
LARGE = ("hier_rect", "hier_seg_depth", "hier_seg_semantic", "hier_seg_depth_au")
"""Systems that are measured at 256 px and a batch of 8: at the published settings their parts are 64 px of 256."""
CHUNK = 6
LIMITS = {"plain": 60.0, "engine": 90.0, "prime": 240.0, "compiled": 240.0}
"""Seconds of one case in one variant; and no more than `SHARE` of the time that the part has left when it starts."""
SHARE = {"plain": 0.5, "engine": 0.5, "prime": 0.8, "compiled": 0.8}
ROOM = {"plain": 20.0, "engine": 25.0, "prime": 60.0, "compiled": 20.0}
"""Seconds without which a worker of that kind is not started any more."""
LINES_TOLD = 6

Item = tuple[Case, str, bool]


def kind_of(variant: str, compiles: bool) -> str:
    """Which workers run a variant; `compiles`: `auto` does."""
    if variant.startswith("prime "):
        return "prime"
    variant = variant.removeprefix("profile ")
    if variant.startswith("plain"):
        return "plain"
    return "compiled" if variant == "compiled" or (variant == "auto" and compiles) else "engine"


def plan(systems: list[str], tiny: bool, profile: bool, compiles: bool) -> list[tuple[str, list[Item]]]:
    """Workers in the order in which they run: their kind, and (case, variant, whether operations are counted).

    What compiles has a worker of its own for every case, and is compiled before by workers that run at the same time:
    compiling takes processors, of which there are many. Where `auto` compiles (`compiles`), `compiled` is not measured
    again. Tiny networks are not compiled, which would take longer than all the rest.
    """
    mains = [Case(case.method, 64, 2) for case in (MAIN[0], MAIN[2])] if tiny else list(MAIN)
    quick = [name for name in ("eager", "graphs", "auto") if kind_of(name, compiles) == "engine"]
    slow = "auto" if compiles else "compiled"
    # What is compared first comes first, whatever time there is.
    workers: list[tuple[str, list[Item]]] = [("plain", [(case, "plain", False) for case in mains])]

    def compiled(some: list[Case]) -> list[tuple[str, list[Item]]]:
        primed: list[tuple[str, list[Item]]] = [("prime", [(case, f"prime {slow}", False) for case in some])]
        return primed + [("compiled", [(case, slow, False)]) for case in some]

    if not tiny:
        workers += compiled(mains)
    workers.append(("engine", [(case, name, name == "eager") for case in mains for name in quick]))
    workers.append(("plain", [(case, "plain strict", False) for case in mains]))
    if profile:
        for variant in ("plain", "graphs", "auto"):
            kind, items = kind_of(variant, compiles), [(case, f"profile {variant}", False) for case in mains]
            workers += [(kind, [item]) for item in items] if kind == "compiled" else [(kind, items)]
    if tiny:
        others = [Case(name, 64, 8) for name in systems if name in ("attgan", "cyclegan")]
    else:
        others = [Case(name, 256, 8) if name in LARGE else Case(name, 128, 16) for name in systems]
    measured = {case.method for case in MAIN}
    others = [case for case in others if case.method not in measured]
    for first in range(0, len(others), CHUNK):
        some = others[first : first + CHUNK]
        workers.append(("plain", [(case, "plain", False) for case in some]))
        workers.append(("engine", [(case, name, name == "eager") for case in some for name in quick]))
    if not tiny:
        for first in range(0, len(others), CHUNK):
            workers += compiled(others[first : first + CHUNK])
    return workers


class Rows:
    """What was found of every case in every variant."""

    def __init__(self, job: Job) -> None:
        self.job, self.rows, self.notes = job, dict[str, dict[str, Any]](), list[str]()
        self.rates: dict[str, float] = {}

    def put(self, case: Case, variant: str, found: dict[str, Any]) -> None:
        """Keep the findings of one variant, and tell the part's."""
        row = self.rows.setdefault(case.name, {**case._asdict(), "variants": {}})
        for name in ("flop", "least_bytes"):
            if name in found:
                row[name] = found.pop(name)
        row["variants"][variant] = found
        self.tell()

    def tell(self) -> None:
        """Report what there is."""
        for row in self.rows.values():
            row |= floor(row.get("flop"), row.get("least_bytes"), self.rates)
        self.job.report({"rates": self.rates, "rows": list(self.rows.values()), "notes": self.notes})


def run(job: Job) -> None:
    """Start worker after worker until everything is done or the time is up."""
    from step_time import read_params

    rows = Rows(job)
    left_out: list[str] = []
    compiles = auto_compiles(job.device)
    if compiles:
        rows.notes.append("`auto` compiles and uses graphs here, so that `compiled` would be the same")
    for number, (kind, items) in enumerate(plan(read_params()["systems"], job.tiny, job.profile, compiles)):
        waiting, attempt = items, 0
        while waiting:
            if job.left() < (5 if job.tiny else ROOM[kind]):
                left_out += [f"{case.name} {variant}" for case, variant, _ in waiting]
                break
            name = f"b-{number}-{attempt}"
            if kind == "prime":
                _prime([job.of(f"{name}-{place}", items=[list(item)]) for place, item in enumerate(waiting)], rows)
                break
            waiting, attempt = _work(job.of(name, items=[list(item) for item in waiting]), kind, rows), attempt + 1
    if left_out:
        rows.notes.append(f"no time was left for {_counted(left_out)}")
    rows.tell()


def _prime(workers: list[Job], rows: Rows) -> None:
    """Run workers of one item each, all at the same time."""
    processes = [start(worker) for worker in workers]
    try:
        for process, worker in zip(processes, workers, strict=True):
            _work(worker, "prime", rows, process)
    finally:
        for process in processes:
            if process.poll() is None:
                stop(process)


def _counted(names: list[str], shown: int = 8) -> str:
    """Names with commas between them, of many only the first."""
    more = f" and {len(names) - shown} others" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _work(worker: Job, kind: str, rows: Rows, process: subprocess.Popen[bytes] | None = None) -> list[Item]:
    """Run one worker, in `process` if it has begun.

    Returns:
        what it left undone when one of its items broke it or took too long.
    """
    items: list[Item] = [(Case(*case), variant, count) for case, variant, count in worker.items]
    done: set[int] = set()
    begun = time.time()
    limit = min(LIMITS[kind], max(20.0, SHARE[kind] * worker.left()))

    def changed(found: dict[str, Any]) -> None:
        nonlocal begun
        if found.get("rates"):
            rows.rates = found["rates"]
        for number, findings in found.get("found", {}).items():
            if int(number) not in done:
                done.add(int(number))
                begun = time.time()
                rows.put(items[int(number)][0], items[int(number)][1], findings)

    fault = follow(process or start(worker), worker, lambda: min(begun + limit, worker.deadline), changed)
    missing = [number for number in range(len(items)) if number not in done]
    if not missing:
        return []
    if worker.left() <= 0:
        names = ", ".join(f"{items[number][0].name} {items[number][1]}" for number in missing)
        rows.notes.append(f"the time was up before {names}")
        rows.tell()
        return []
    case, variant, _ = items[missing[0]]
    said = (fault or "its worker ended without a word").splitlines()
    rows.put(case, variant, {"failure": "\n".join([said[0], *said[1:][-LINES_TOLD:]])})
    return [items[number] for number in missing[1:]]


def work(job: Job) -> None:
    """What a worker does: its items one after the other."""
    bench = Bench(job)
    found: dict[str, Any] = {"found": {}}
    if job.part.startswith("b-0-"):
        found["rates"] = rates(bench.accelerator, job.tiny)
    job.report(found)
    for number, (case, variant, count) in enumerate(job.items):
        try:
            findings = bench.run(Case(*case), variant, count)
        except Exception as error:
            # The device may be unusable from here on: the next items get a new process.
            if bench.accelerator.cuda and "CUDA error" in str(error):
                raise
            traceback.print_exc()
            findings = {"failure": f"{type(error).__name__}: {error}"[:1500]}
        found["found"][str(number)] = findings
        job.report(found)
