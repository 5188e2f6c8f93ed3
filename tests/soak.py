"""Kills by the dozen and hostile inputs by the thousand, with fixed seeds: does every run end as if nothing had been?

    python -m tests.soak                          50 kills of `snakemake`, 5 of `dvc repro`, 1,000 inputs
    python -m tests.soak --kills 5 --inputs 100   fewer; --seed 3: others
    python -m tests.soak --write                  put the result into docs/reliability.md

Not a test of pytest's: it takes hours. A project of the real modules at their smallest is made once undisturbed, the
reference. Then the same command makes copies of it, in which kill -9 hits every rule at a random share of the time that
it took before; each copy takes several kills before it may finish. The same command is started again and again, and
what its messages ask for is done, until it ends well. Then every file must be the reference's, bit for bit, but for
`MAY_DIFFER`. The inputs are those of `tests.fuzz`.

Ctrl-C stops it; the same command goes on with what was not finished. A copy that ended otherwise stays where it is.
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from mimik.storage.files import file_sha256, write_json, write_text
from tests.fuzz.inputs import KINDS
from tests.fuzz.trying import run as try_inputs
from tests.workflow.conftest import ROOT, environment, real_project

PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- soak: written by `make soak` -->", "<!-- soak: end -->"

SNAKEMAKE = ("snakemake", "--cores", "2")
UNLOCK = "snakemake --unlock"
DVC = ("dvc", "repro")
STARTING, ENDING = "the start", "the record for DVC"
"""What a run does before its first job and after its last one."""

EVERYTHING, JOBS, PROGRAM = "everything", "the jobs", "the program alone"
VICTIMS = (EVERYTHING, EVERYTHING, JOBS, PROGRAM)
"""What is killed; the commonest twice. The program's jobs go on without it."""

LONGEST = 7200
"""Seconds after which a run counts as hanging."""

TRIES = 12
"""Starts without a kill after which a copy is given up."""

COMPARED = ("data", "results", "report", "checkpoints")
MAY_DIFFER = {
    "the run's id in metrics.json and in what shows it": "MLflow draws it",
    "the date in report.html and index.html": "when the page was made",
    "logs/": "messages and durations",
    "mlflow.db, mlruns/": "ids and times; state, settings, last values and files of every run are compared",
    ".snakemake/, .dvc/, .git/, dvc.lock": "records of other programs, with times; locks and marks of unfinished files "
    "are looked for",
}
"""What need not be the reference's, and why."""

DATE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
TEMPORARY = re.compile(r"\..*\.tmp(\..*)?")


class Kill(NamedTuple):
    """One kill: which rule it waits for, at which share of its time, and what it kills."""

    rule: str
    share: float
    victim: str


class Reference(NamedTuple):
    """What the undisturbed run tells the others."""

    rules: dict[str, str]
    """The rule by what Snakemake says of the job."""
    seconds: dict[str, float]
    """Of every rule, and of `STARTING` and `ENDING`; the shortest where it has several jobs."""


class Attempt:
    """One start of a command in a project, watched by what it prints."""

    def __init__(self, command: tuple[str, ...], project: Path, log: Path, reference: Reference) -> None:
        self.log, self.reference, self.dvc = log, reference, command == DVC
        self.text, self.jobs = "", dict[str, str]()
        self.running: dict[str, float] = {STARTING: time.monotonic()}
        self.took: list[tuple[str, float]] = []
        """Every job that has ended, by what Snakemake says of it, and its seconds."""
        settings = {**environment(), "OMP_NUM_THREADS": "1", "TMPDIR": str(log.parent), "PYTHONUNBUFFERED": "1"}
        settings.pop("MLFLOW_TRACKING_URI", None)
        with log.open("wb") as opened:
            self.process = subprocess.Popen(
                command, cwd=project, env=settings, stdout=opened, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.read = log.open("r", encoding="utf-8", errors="replace")

    def look(self) -> None:
        """Read what has been printed since, and note which jobs have begun and ended."""
        new = self.read.read()
        if not new:
            return
        whole = len(self.text) - len(self.text.rpartition("\n")[2])
        self.text += new
        for line in self.text[whole : self.text.rfind("\n") + 1].splitlines():
            if self.dvc:
                if found := re.match(r"Running stage '(\w+)", line):
                    self._ended(*self.running)
                    self._began(found[1])
            elif found := re.match(r"Job (\d+): (.*)", line):
                self._ended(STARTING)
                if found[1] != "0":
                    self.jobs[found[1]] = found[2]
                    self._began(found[2])
            elif found := re.match(r"Finished jobid: (\d+)", line):
                self._ended(self.jobs.get(found[1], ""))
                if found[1] == "0":
                    self._began(ENDING)

    def _began(self, job: str) -> None:
        self.running[job] = time.monotonic()

    def _ended(self, *jobs: str) -> None:
        for job in jobs:
            if job in self.running:
                self.took.append((job, time.monotonic() - self.running.pop(job)))

    def until(self, due: dict[str, Kill]) -> Kill | None:
        """Wait for the end, or for the first moment that is due; which."""
        begun = time.monotonic()
        while True:
            ended = self.process.poll() is not None
            self.look()
            if ended:
                self._ended(*self.running)
                return None
            for job, since in self.running.items():
                kill = due.get(self.reference.rules.get(job, job))
                if kill is not None:
                    length = self.reference.seconds[kill.rule] + self.dvc * self.reference.seconds[STARTING]
                    if time.monotonic() - since >= kill.share * length:
                        return kill
            if time.monotonic() - begun > LONGEST:
                self.kill(EVERYTHING)
                raise TimeoutError(f"{self.log}: no end in {LONGEST} s")
            time.sleep(0.2)

    def kill(self, victim: str) -> list[psutil.Process]:
        """SIGKILL; those that live on without their program."""
        program = psutil.Process(self.process.pid)
        family = program.children(recursive=True)
        while victim == JOBS and not any(is_job(one) for one in family) and self.process.poll() is None:
            time.sleep(0.05)  # it has been announced and is about to be started
            family = program.children(recursive=True)
        if victim == EVERYTHING:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            slay(family)
        elif victim == JOBS:
            slay(one for one in family if is_job(one))
            self.until({})
            return []
        else:
            program.kill()
        self.process.wait()
        self.look()
        return [] if victim == EVERYTHING else family

    def close(self) -> None:
        """End whatever goes on, as when a person has stopped the soak."""
        if self.process.poll() is None:
            self.kill(EVERYTHING)
        self.read.close()


def is_job(process: psutil.Process) -> bool:
    try:
        return ".snakemake/scripts/" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def wait_for(processes: list[psutil.Process]) -> None:
    deadline = time.monotonic() + LONGEST
    while any(map(is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.5)


def slay(processes: Any) -> None:
    for one in processes:
        with contextlib.suppress(psutil.Error):
            one.kill()


def undisturbed(folder: Path) -> Reference:
    """Make the reference."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    project = real_project(folder / "project")
    shutil.copytree(project.folder, folder / "fresh", symlinks=True)
    attempt = Attempt(SNAKEMAKE, project.folder, folder / "0.log", Reference({}, {}))
    try:
        attempt.until({})
    finally:
        attempt.close()
    if attempt.process.returncode:
        raise SystemExit(f"the undisturbed run failed: {attempt.log}")
    rules = {}
    for number, rule in re.findall(r"^Finished jobid: (\d+) \(Rule: (\w+)\)", attempt.text, re.MULTILINE):
        if number in attempt.jobs:
            rules[attempt.jobs[number]] = rule
    seconds: dict[str, float] = {}
    for job, took in attempt.took:
        rule = rules.get(job, job)
        seconds[rule] = min(took, seconds.get(rule, took))
    return Reference(rules, seconds)


def chosen_kills(reference: Reference, hit: Counter[str], count: int, seed: str, dvc: bool) -> list[Kill]:
    """At most one kill for every rule, of the rules that were hit least."""
    chance = random.Random(seed)
    rules = [rule for rule in reference.seconds if not dvc or rule not in (STARTING, ENDING)]
    rules = sorted(rules, key=lambda rule: (hit[rule], chance.random()))[:count]
    kills = []
    for rule in rules:
        victim = chance.choice((EVERYTHING, PROGRAM) if rule in (STARTING, ENDING) else VICTIMS)
        kills.append(Kill(rule, chance.uniform(0, 0.9), victim))
    return kills


def life(command: tuple[str, ...], kills: list[Kill], reference: Reference, folder: Path) -> dict[str, Any]:
    """A copy's life: killed, started again, helped as its messages ask, at last compared; what happened."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    project = folder / "project"
    shutil.copytree(folder.parent / "reference" / "fresh", project, symlinks=True)
    due, done, faults = {kill.rule: kill for kill in kills}, list[dict[str, Any]](), list[str]()
    helped, orphans, patience, begun = Counter[str](), list[psutil.Process](), TRIES, time.monotonic()
    for number in range(len(kills) + 10 * TRIES):
        attempt = Attempt(command, project, folder / f"{number}.log", reference)
        try:
            kill = attempt.until(due)
            if kill is not None:
                running = [reference.rules.get(job, job) for job in attempt.running]
                orphans += attempt.kill(kill.victim)
                done.append({**kill._asdict(), "running": running})
                del due[kill.rule]
                patience = TRIES
                print(f"    {'/'.join(running)}: {kill.victim}", flush=True)
        except TimeoutError as error:
            faults.append(str(error))
            break
        except KeyboardInterrupt:
            slay(orphans)
            raise
        finally:
            attempt.close()
        if "Traceback (most recent call last)" in attempt.text:
            faults.append(f"{attempt.log}: a traceback")
        if attempt.process.returncode == 0:
            break
        if kill is not None and not any((project / ".snakemake" / "locks").glob("*")):
            continue
        patience -= 1
        # What a start would say is known: it would refuse to go on without this.
        asked = UNLOCK if kill is not None else what_is_asked(attempt.text, orphans)
        if asked is None or not patience:
            faults.append(f"{attempt.log}: the command does not end well")
            break
        helped[asked] += 1
        if asked == "wait":
            wait_for(orphans)
        elif asked != "again":
            subprocess.run(asked.split(), cwd=project, env={**environment(), "PYTHONPATH": "src"}, check=False)
    wait_for(orphans)
    if not faults:
        faults = differences(folder.parent / "reference" / "project", project)
        if command == SNAKEMAKE and "mimik: DVC is up to date" not in attempt.text:
            faults.append(f"{attempt.log}: DVC is not up to date")
    if not faults:
        shutil.rmtree(folder)
    found = {"command": " ".join(command), "kills": done, "helped": helped, "faults": faults}
    return {**found, "seconds": time.monotonic() - begun}


def what_is_asked(text: str, orphans: list[psutil.Process]) -> str | None:
    """What a message of a run that ended badly asks for: a command, or to wait, or nothing but the same again."""
    if "--unlock argument" in text or "`snakemake --unlock`" in text:
        return UNLOCK
    if any(map(is_alive, orphans)):
        return "wait"
    if "`mimik dvc`" in text:
        return "python -m mimik.cli dvc"
    return "again" if "SIGKILL" in text or "another process" in text else None


def contents(project: Path) -> dict[str, str]:
    """A digest of every file that is compared, without what may differ."""
    ids = [json.loads(file.read_bytes())["mlflow_run_id"].encode() for file in project.glob("results/*/*/metrics.json")]
    found = {}
    for folder in COMPARED:
        for path in sorted((project / folder).rglob("*")):
            if path.is_file() and path.suffix in (".json", ".html"):
                content = DATE.sub(b"DATE", path.read_bytes())
                for one in ids:
                    content = content.replace(one, b"RUN")
                found[str(path.relative_to(project))] = hashlib.sha256(content).hexdigest()
            elif path.is_file() and path.name != ".gitignore":  # DVC's, beside its outputs
                found[str(path.relative_to(project))] = file_sha256(path)
    return found


def tracked(project: Path) -> list[Any]:
    """What MLflow has of a project, without ids, times and the machine's load."""
    from mlflow import MlflowClient

    server = f"sqlite:///{project / 'mlflow.db'}"
    client = MlflowClient(server, server)
    found: list[Any] = []
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            metrics = {name: value for name, value in run.data.metrics.items() if not name.startswith("system/")}
            files = sorted(file.path for file in client.list_artifacts(run.info.run_id))
            states = [experiment.name, run.info.run_name, run.info.status]
            models = len(client.search_model_versions(f"run_id = '{run.info.run_id}'"))
            found.append([*states, sorted(run.data.params.items()), sorted(metrics.items()), files, models])
    return sorted(found, key=str)


def differences(reference: Path, project: Path) -> list[str]:
    """What is not as in the reference, and what a run that has ended should not leave."""
    here, there = contents(project), contents(reference)
    faults = [
        f"{name}: not the reference's" for name in sorted(here.keys() & there.keys()) if here[name] != there[name]
    ]
    faults += [f"{name}: only here" for name in sorted(here.keys() - there.keys())]
    faults += [f"{name}: missing" for name in sorted(there.keys() - here.keys())]
    faults += [f"{path}: a temporary file" for path in project.rglob("*") if TEMPORARY.fullmatch(path.name)]
    for folder in ("locks", "incomplete"):
        faults += [f"{path}: left over" for path in (project / ".snakemake" / folder).rglob("*") if path.is_file()]
    runs = tracked(project)
    if any(run[2] != "FINISHED" for run in runs):
        faults.append("MLflow has a run that is not finished")
    if json.dumps(runs) != json.dumps(tracked(reference)):
        faults.append("MLflow's runs are not the reference's")
    return faults


def code() -> str:
    """A digest of what decides a result."""
    files = [ROOT / "Snakefile", ROOT / "dvc.yaml", ROOT / "params.yaml"]
    for folder in ("src/mimik", "workflow", "params", "profiles"):
        files += [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return hashlib.sha256("".join(f"{path} {file_sha256(path)}" for path in sorted(files)).encode()).hexdigest()


def rows(state: dict[str, Any]) -> Iterator[tuple[str, int, int, str]]:
    """Of everything that was done: how often, how often well, and how it went."""
    for command in (SNAKEMAKE, DVC):
        lives = [one for one in state["lives"] if one["command"] == " ".join(command)]
        kills = [(kill, not one["faults"]) for one in lives for kill in one["kills"]]
        for rule in [*state["reference"][1], *sorted({k["rule"] for k, _ in kills} - set(state["reference"][1]))]:
            hits = [(kill, well) for kill, well in kills if rule == kill["rule"]]
            if hits:
                victims = Counter(kill["victim"] for kill, _ in hits)
                told = ", ".join(f"{name} {victims[name]}" for name in (EVERYTHING, JOBS, PROGRAM) if victims[name])
                also = sum(rule in kill["running"] and rule != kill["rule"] for kill, _ in kills)
                told += f"; running beside what was hit: {also}" if also else ""
                yield f"`{command[0]}` killed in {rule}", len(hits), sum(well for _, well in hits), told
    for kind, counted in state["inputs"].items():
        well = counted.get("result", 0) + counted.get("sentence", 0) - counted.get("changed", 0)
        told = ", ".join(f"{name} {number}" for name, number in counted.items() if name != "inputs")
        yield f"input: {kind}", counted["inputs"], well, told


def table(state: dict[str, Any]) -> str:
    """The one table, in Markdown."""
    lines = ["| what | times | ended well | how |", "|---|---|---|---|"]
    kills, inputs = [0, 0], [0, 0]
    for name, times, well, how in rows(state):
        total = inputs if name.startswith("input") else kills
        total[0], total[1] = total[0] + times, total[1] + well
        lines.append(f"| {name} | {times} | {well} | {how} |")
    lines.append(f"| all kills | {kills[0]} | {kills[1]} | |")
    lines.append(f"| all inputs | {inputs[0]} | {inputs[1]} | |")
    return "\n".join(lines)


def origin(state: dict[str, Any]) -> str:
    """What the table was made of."""
    helped: Counter[str] = sum((Counter(one["helped"]) for one in state["lives"]), Counter())
    hours = (state["seconds"] + sum(one["seconds"] for one in state["lives"])) / 3600
    asked = ", ".join(f"`{name}` {number} times" for name, number in sorted(helped.items())) or "nothing"
    return (
        f"Seed {state['seed']}, commit {state['commit']}, {datetime.date.today()}, {os.cpu_count()} cores "
        f"({processor()}), {hours:.1f} hours for the kills and {state['input_seconds'] / 60:.0f} minutes for the "
        f"inputs. Undisturbed, the run took {state['seconds']:.0f} s. "
        f"Copies that took the kills: {len(state['lives'])}. "
        f"Needed in between: {asked}."
    )


def section(state: dict[str, Any]) -> str:
    """What stands between the markers of the page."""
    differ = "\n".join(f"- {what}: {why}" for what, why in MAY_DIFFER.items())
    return f"{table(state)}\n\n{origin(state)}\n\nWhat may differ from the undisturbed run:\n\n{differ}\n"


def processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.processor()


def main() -> int:
    """Run; 1 where a copy or an input ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="of `snakemake` (default: 50)")
    parser.add_argument("--dvc", type=int, default=5, help="kills of `dvc repro` (default: 5)")
    parser.add_argument("--inputs", type=int, default=1000, help="of all kinds together (default: 1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "soak", help="where copies are made")
    parser.add_argument("--write", action="store_true", help="put the result into docs/reliability.md")
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    record = folder / "state.json"
    state = json.loads(record.read_text()) if record.exists() else {}
    if (state.get("code"), state.get("seed")) != (code(), chosen.seed):
        print("The undisturbed run, with which all others are compared.", flush=True)
        begun = time.monotonic()
        commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
        shutil.rmtree(folder, ignore_errors=True)
        reference = undisturbed(folder / "reference")
        state = {"code": code(), "seed": chosen.seed, "commit": commit.stdout.strip(), "reference": reference}
        state |= {"seconds": time.monotonic() - begun, "lives": [], "inputs": {}, "input_seconds": 0.0}
        write_json(record, state)
    reference = Reference(*state["reference"])
    for command, count in ((SNAKEMAKE, chosen.kills), (DVC, chosen.dvc)):
        while True:
            lives = [one for one in state["lives"] if one["command"] == " ".join(command)]
            hit = Counter(kill["rule"] for one in lives for kill in one["kills"])
            if hit.total() >= count or (lives and not lives[-1]["kills"]):
                break
            number = len(state["lives"])
            seed = f"{chosen.seed} {' '.join(command)} {len(lives)}"
            kills = chosen_kills(reference, hit, count - hit.total(), seed, command == DVC)
            print(f"`{' '.join(command)}`, copy {number + 1}, {len(kills)} kills", flush=True)
            state["lives"].append(life(command, kills, reference, folder / f"copy-{number + 1}"))
            write_json(record, state)
            print("\n".join(state["lives"][-1]["faults"]) or "    the reference's bits", flush=True)
    each = -(-chosen.inputs // len(KINDS))
    for kind in KINDS if each else ():
        if state["inputs"].get(kind, {}).get("inputs") != each:
            begun = time.monotonic()
            shutil.rmtree(folder / "inputs", ignore_errors=True)
            (folder / "inputs").mkdir()
            state["inputs"] |= try_inputs([kind], each, chosen.seed, folder / "inputs")
            state["input_seconds"] += time.monotonic() - begun
            write_json(record, state)
    print(f"\n{section(state)}")
    if chosen.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        write_text(PAGE, f"{before}{BEGIN}\n{section(state)}{END}{rest.partition(END)[2]}")
    return int(any(times != well for _, times, well, _ in rows(state)) or any(one["faults"] for one in state["lives"]))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Stopped; the same command goes on.")
