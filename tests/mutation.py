"""Small faults put into methods, components and guides, one at a time: do their tests see them?

    python -m tests.mutation                       every file, up to 40 faults each
    python -m tests.mutation stargan depth         some files
    python -m tests.mutation --per-file 400        more faults; --seed 3: others
    python -m tests.mutation stargan --write       put the result into docs/mutation.md

Not a test of pytest's: it takes most of an hour. A fault (`tests.mutants` makes them) is built into a module while it
is imported, no file changes. It counts as killed when one of the tests of that file (`tests_of`) fails, or does not
end in time. A fault with which Python itself stops (`BROKEN`) says nothing about a formula and does not count at all.
Only tests that execute the changed line are run, the quickest first, none that takes more than `QUICK` seconds of a
processor, so that the figure is a lower bound. Faults that change nothing anyone can see are named in `EQUIVALENT`,
each with its reason, and counted apart.
"""

import argparse
import ast
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

from tests.mutants import Mutant, applied, mutants_of

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "mimik"
FOLDERS = ("components", "guidance", "methods")
PAGE = ROOT / "docs" / "mutation.md"
TOUCHED = (*FOLDERS, "training", "pretraining", "evaluation", "editing", "reporting", "inspection", "tracking", "cli")
"""Those that get faults, and the layers that import them."""

QUICK = 2.0
BROKEN = re.compile(r"^(FAILED|ERROR) .* - (TypeError|AttributeError|NameError|UnboundLocalError)\b", re.MULTILINE)
MEMORY = 12 << 30
FURTHER: dict[str, tuple[str, ...]] = {
    "components/context": ("methods/test_stargan_losses.py", "methods/test_methods.py"),
    "components/budget": ("methods/test_stargan_losses.py", "methods/test_hier_seg_losses.py"),
    "components/realness": ("components/test_adversary_losses.py",),
    "methods/stargan": ("methods/test_methods.py", "methods/test_attgan.py"),
    "methods/hier_seg": ("methods/test_methods.py",),
}
"""Tests of a file beside those that carry its name, and the one of what every Config inherits."""

EQUIVALENT: dict[tuple[str, str, str, str], str] = {
    (
        "components/adversary",
        'return self.config.lambda_gradient_penalty * terms["gp"] + zero, terms',
        "self.config.lambda_gradient_penalty * terms['gp'] + zero",
        "self.config.lambda_gradient_penalty * terms['gp'] - zero",
    ): "plus or minus zero, and gradients of zero",
    (
        "components/conditions",
        'names = {"expression": ("label", "target"), "attributes": ("attributes", "target_attributes")}',
        "('label', 'target')",
        "('target', 'label')",
    ): "a set is made of them",
    (
        "components/conditions",
        "return states + (torch.rand_like(states) * 2 - 1) * width if width else states",
        "states + (torch.rand_like(states) * 2 - 1) * width",
        "states - (torch.rand_like(states) * 2 - 1) * width",
    ): "noise is the same on both sides",
    (
        "components/face_parts",
        "bottom = torch.where(rows, y, -1).amax(2) + 1",
        "1",
        "0",
    ): "-0 is still the least of all rows; the box of a part without pixels is undefined",
    (
        "components/losses",
        "return (mask[..., 1:, :] - mask[..., :-1, :]).abs().mean() +",
        "(..., :, 1:)",
        "(:, ..., 1:)",
    ): "the same axis of four",
    (
        "components/losses",
        "return (mask[..., 1:, :] - mask[..., :-1, :]).abs().mean() +",
        "(..., :, :-1)",
        "(:, ..., :-1)",
    ): "the same axis of four",
    (
        "components/semantics",
        "merged.append(torch.logsumexp(",
        "len(members) > 1",
        "len(members) >= 1",
    ): "the sum over a single class is this class",
    (
        "components/semantics",
        "merged.append(torch.logsumexp(",
        "1",
        "0",
    ): "the same; the other ones of the line are axes, whose change is seen",
    (
        "methods/cyclegan",
        "older = self.kept[every, place.clamp(max=self.config.buffer - 1)]",
        "place.clamp(max=self.config.buffer - 1)",
        "place",
    ): "no place is beyond the buffer: a count that is not full is below its size",
    (
        "methods/hier_seg",
        'self.register_buffer("extent", extent, persistent=False)',
        "self.register_buffer('extent', extent, persistent=False)",
        "self.register_buffer('extent', extent)",
    ): "the same values from the settings or from a checkpoint with these settings",
    (
        "methods/hier_seg",
        "changes = (global_change, local_change, fusion_change)",
        "(global_change, local_change, fusion_change)",
        "(local_change, global_change, fusion_change)",
    ): "they are summed",
    (
        "methods/hier_seg",
        "if self.anchor is not None and cut.logits is not None and cut.logits.requires_grad:",
        "self.anchor is not None and cut.logits is not None and cut.logits.requires_grad",
        "self.anchor is not None and cut.logits.requires_grad",
    ): "there are always logits",
}
"""(file, beginning of the line, what stood there, what stands there instead) -> why no test can see the difference."""


class Found(NamedTuple):
    """What became of one fault."""

    mutant: Mutant
    outcome: str


def tests_of(name: str) -> list[Path]:
    """Test files that concern a source file such as `methods/stargan`."""
    folder, stem = name.split("/")
    own = sorted((ROOT / "tests" / folder).glob(f"test_{stem}.py"))
    losses = sorted((ROOT / "tests" / folder).glob(f"test_{stem}_*.py"))
    further = [*FURTHER.get(name, ()), *(() if folder == "components" else ("components/test_budget.py",))]
    return [*losses, *own, *(ROOT / "tests" / one for one in further)]


class Loader(importlib.machinery.SourceFileLoader):
    """Compiles a changed tree in place of the file."""

    def __init__(self, fullname: str, path: str, tree: ast.AST) -> None:
        super().__init__(fullname, path)
        self.tree = tree

    def get_code(self, fullname: str) -> Any:
        return compile(self.tree, self.path, "exec")  # type: ignore[arg-type]


class Finder(importlib.abc.MetaPathFinder):
    """Finds one module, changed."""

    def __init__(self, name: str, path: Path, tree: ast.AST) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        loader = Loader(fullname, str(self.path), self.tree)
        return importlib.util.spec_from_file_location(fullname, self.path, loader=loader)


class Watch:
    """A plugin that notes how long every test computes and which lines of a file it executes."""

    def __init__(self, source: Path) -> None:
        self.source, self.lines, self.found = str(source), set[int](), dict[str, tuple[float, list[int]]]()

    def _trace(self, frame: Any, event: str, _: Any) -> Any:
        return self._line if frame.f_code.co_filename == self.source else None

    def _line(self, frame: Any, event: str, _: Any) -> Any:
        self.lines.add(frame.f_lineno)
        return self._line

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self.lines, began = set(), time.process_time()
        sys.settrace(self._trace)
        yield
        sys.settrace(None)
        self.found[item.nodeid] = (time.process_time() - began, sorted(self.lines))


class Chosen:
    """A plugin that runs some tests in a given order."""

    def __init__(self, order: list[str]) -> None:
        self.place = {name: place for place, name in enumerate(order)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self.place), key=lambda i: self.place[i.nodeid])


def start(task: Callable[[Path], int]) -> tuple[int, Path]:
    """Run a task in a process of its own with its own folder, without a word; the process's number and the folder."""
    folder = Path(tempfile.mkdtemp(prefix="mimik-mutation-"))
    pid = os.fork()
    if pid:
        return pid, folder
    code = 70
    try:
        os.setsid()
        silent = os.open(os.devnull, os.O_RDWR)
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
        for stream, to in ((0, silent), (1, log), (2, log)):
            os.dup2(to, stream)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.environ["COLUMNS"] = "300"  # pytest shortens the lines that name an error
        code = task(folder)
    finally:
        os._exit(code)


def pytest_in(folder: Path, tests: Iterable[Path], plugin: object, *options: str) -> int:
    """pytest on test files, with nothing kept."""
    arguments = [*map(str, tests), "-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'tmp'}", *options]
    return int(pytest.main(arguments, plugins=[plugin]))


def watched(source: Path, tests: list[Path]) -> dict[str, tuple[float, list[int]]]:
    """Seconds of a processor and lines of every test; all must pass."""

    def task(folder: Path) -> int:
        watch = Watch(source)
        code = pytest_in(folder, tests, watch)
        (folder / "found.json").write_text(json.dumps([watch.found, list(sys.modules)]))
        return code

    pid, folder = start(task)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        raise SystemExit(f"{source}: its tests fail without any fault:\n{(folder / 'log').read_text()[-4000:]}")
    found: dict[str, tuple[float, list[int]]]
    found, modules = json.loads((folder / "found.json").read_text())
    shutil.rmtree(folder)
    preload(modules)
    return found


def preload(modules: Iterable[str]) -> None:
    """Import what no fault can touch once, before processes are forked off."""
    for name in modules:
        top, _, rest = name.partition(".")
        if top not in ("tests", "__main__", "conftest") and (top != "mimik" or rest.split(".")[0] not in TOUCHED):
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def seen(mutant: Mutant, tests: dict[str, tuple[float, list[int]]]) -> list[str]:
    """Tests that may see a fault, the quickest first."""
    lines = set(range(mutant.first, mutant.last + 1))
    chosen = [n for n, (t, own) in tests.items() if t <= QUICK and (mutant.at_import or not lines.isdisjoint(own))]
    return sorted(chosen, key=lambda name: tests[name][0])


def run_file(name: str, mutants: list[Mutant], workers: int) -> list[Found]:
    """What becomes of each fault in a file."""
    source, tests = PACKAGE / f"{name}.py", tests_of(name)
    known = watched(source, tests)
    limit = 30 + 10 * sum(took for took, _ in known.values())
    module, text = "mimik." + name.replace("/", "."), source.read_text()
    waiting, running, outcomes = list(enumerate(mutants)), dict[int, tuple[int, Path, float]](), dict[int, str]()

    def attempt(mutant: Mutant, order: list[str]) -> Callable[[Path], int]:
        def task(folder: Path) -> int:
            sys.meta_path.insert(0, Finder(module, source, applied(text, mutant)))
            files = [test for test in tests if any(n.startswith(str(test.relative_to(ROOT))) for n in order)]
            return pytest_in(folder, files, Chosen(order), "-x")

        return task

    while waiting or running:
        while waiting and len(running) < workers:
            index, mutant = waiting.pop(0)
            if not (order := seen(mutant, known)):
                outcomes[index] = "survived"
                continue
            pid, folder = start(attempt(mutant, order))
            running[pid] = index, folder, time.monotonic()
        time.sleep(0.02)
        for pid, (index, folder, began) in list(running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done and time.monotonic() - began > limit:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                outcomes[index] = "killed"
            elif done:
                broken = BROKEN.search((folder / "log").read_text(errors="replace"))
                killed = "broken" if broken else "killed"
                outcomes[index] = killed if os.waitstatus_to_exitcode(status) else "survived"
            else:
                continue
            shutil.rmtree(folder, ignore_errors=True)
            del running[pid]
    return [Found(mutant, outcomes[index]) for index, mutant in enumerate(mutants)]


def judged(name: str, found: Found) -> Found:
    """`equivalent` where a survivor is known to change nothing."""
    line = (PACKAGE / f"{name}.py").read_text().splitlines()[found.mutant.first - 1].strip()
    change = (name, found.mutant.before, found.mutant.after)
    known = any(line.startswith(start) and change == (file, *both) for file, start, *both in EQUIVALENT)
    return found._replace(outcome="equivalent") if known and found.outcome == "survived" else found


def count(found: Iterable[Found]) -> dict[str, int]:
    """How many of each outcome."""
    outcomes = [one.outcome for one in found]
    return {outcome: outcomes.count(outcome) for outcome in ("killed", "survived", "equivalent")}


def row(name: str, numbers: dict[str, int], *more: str) -> str:
    """One line of the table."""
    killed, survived, equivalent = numbers.values()
    share = f"{100 * killed / (killed + survived):.0f} %" if killed + survived else "-"
    cells = [name, killed + survived + equivalent, killed, survived, equivalent, share, *more]
    return f"| {' | '.join(map(str, cells))} |"


HEAD = """# Do the tests see a wrong formula?

Small faults are put into methods, components and guides, one at a time: an operator exchanged, a term left out, a
constant or a label changed, a `detach` dropped. A fault is killed when a test of its file fails. The score is the share
of killed ones among all that are not equivalent. Which faults there are, and which tests count: `tests/mutants.py` and
`tests/mutation.py`. `make mutation` writes this page; `python -m tests.mutation stargan --write` a part of it.

Tests were written for survivors of seed 0, so a run with another `--seed` is the fairer judge. The first run, before
any such test, killed 488 of 519 faults in 17 files (94 %), none of the survivors taken as equivalent.

| file | faults | killed | survived | equivalent | score | command, commit, CPU cores, torch |
|---|---|---|---|---|---|---|
"""


def page(old: str, results: dict[str, list[Found]], command: str) -> str:
    """docs/mutation.md with new results; files that were not run keep theirs."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    how = f"`{command}`, {commit.strip()}, {os.cpu_count()}, {torch.__version__}"
    rows, numbers = dict[str, str](), dict[str, list[int]]()
    for line in [*old.splitlines(), *(row(name, count(found), how) for name, found in results.items())]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if "/" in cells[0] and len(cells) == 7:
            rows[cells[0]], numbers[cells[0]] = line, [int(cell) for cell in cells[2:5]]
    total = dict(zip(("killed", "survived", "equivalent"), map(sum, zip(*numbers.values(), strict=True)), strict=True))
    survivors = [
        line for line in old.splitlines() if line.startswith("- `") and line[3:].split(".py:")[0] not in results
    ]
    for name, found in results.items():
        for one in found:
            if one.outcome == "survived":
                survivors.append(f"- `{name}.py:{one.mutant.first}`: `{one.mutant.before}` -> `{one.mutant.after}`")
    lines = [*(rows[name] for name in sorted(rows)), row("all", total, ""), "", "## Survivors", "", *sorted(survivors)]
    return HEAD + "\n".join(lines) + "\n"


def main() -> int:
    """Run; 1 where less than nine of ten faults were seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="names without folder or suffix; none: all")
    parser.add_argument("--per-file", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="put the result into docs/mutation.md")
    chosen = parser.parse_args()
    os.chdir(ROOT)
    torch.testing.assert_close(torch.ones(1), torch.ones(1))  # imports much when it is first called
    names = [f"{folder}/{path.stem}" for folder in FOLDERS for path in sorted((PACKAGE / folder).glob("[!_]*.py"))]
    unknown = set(chosen.files) - {name.split("/")[1] for name in names}
    if unknown:
        parser.error(f"no such file: {', '.join(sorted(unknown))}")
    results: dict[str, list[Found]] = {}
    print("| file | faults | killed | survived | equivalent | score |", flush=True)
    for name in names:
        if chosen.files and name.split("/")[1] not in chosen.files:
            continue
        mutants = mutants_of((PACKAGE / f"{name}.py").read_text())
        drawn = random.Random(f"{chosen.seed} {name}").sample(range(len(mutants)), min(chosen.per_file, len(mutants)))
        done = run_file(name, [mutants[index] for index in sorted(drawn)], chosen.workers)
        results[name] = [judged(name, one) for one in done]
        print(row(name, count(results[name])), flush=True)
        for one in results[name]:
            if one.outcome == "survived":
                print(f"    {one.mutant.first}: {one.mutant.before}  ->  {one.mutant.after}", flush=True)
        if chosen.write:
            command = f"--per-file {chosen.per_file} --seed {chosen.seed}"
            PAGE.write_text(page(PAGE.read_text() if PAGE.exists() else "", {name: results[name]}, command))
    numbers = count(one for found in results.values() for one in found)
    print(row("all", numbers))
    return int(numbers["killed"] < 0.9 * (numbers["killed"] + numbers["survived"]))


if __name__ == "__main__":
    sys.exit(main())
