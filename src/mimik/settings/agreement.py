"""Records in DVC what Snakemake made, and keeps DVC from making it again while Snakemake runs.

Both delete each result before they make it. DVC knows only its own runs: after a direct `snakemake` it would consider
every result missing, and `dvc repro` would first delete them all. So each run of Snakemake leaves a mark while it runs
(`begin`), and at its end DVC records (`tell`) what was really made from the current params.yaml and source files. Then
the mark is removed.

The mark is in the output of DVC's first stage, `data/settings`. So DVC sees that stage as changed and runs it, and the
stage refuses (`check`) as long as Snakemake runs, or has ended without DVC having recorded its results.
"""

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from mimik.errors import UserError
from mimik.settings import params as resolution
from mimik.settings import stages
from mimik.storage.files import read_json

MARKS = stages.DECISIONS / "snakemake"
"""A file for every run of Snakemake that DVC has not been told of; held by a lock as long as the run goes on."""

FIRST = "settings"
"""DVC's stage before all that are jobs of Snakemake."""

OUTSIDE = "outside"
"""DVC's stages before that: of the folders from which params.yaml takes modules."""

LATER = "Run `mimik dvc` to record it."

_held: dict[Path, FileLock] = {}


def begin(project: Path) -> None:
    """Before Snakemake's first job: leave the mark of this run.

    Raises:
        UserError: `dvc repro` is running here; it would delete what this run makes.
    """
    if _called_by_dvc() or not (project / "dvc.yaml").is_file():
        return
    mark = _own(project)
    lock = FileLock(mark)
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except OSError as error:
        # Jobs may well be possible: a `data` that others own, a disk of another machine without locks.
        print(
            f"\nmimik: this run cannot lock out DVC: {error}. Do not start `dvc repro` before it has finished.",
            file=sys.stderr,
        )
        return
    _held[mark] = lock
    running = _dvc_runs(project)
    if running:
        _forget(project, [mark])
        raise UserError(
            f"DVC is making results in this project ({running}) and deletes every result before it makes it. Wait "
            "until it has finished, then run the same command again."
        )


def end(project: Path) -> None:
    """After Snakemake's last job, successful or not: tell DVC. A failure is printed but does not fail the run."""
    if _called_by_dvc() or not (project / "dvc.yaml").is_file():
        return
    try:
        text = tell(project)
    except UserError as error:
        text = f"DVC has no record of what this run made: {error}\n{LATER}"
    except (Exception, KeyboardInterrupt) as error:
        text = f"DVC has no record of what this run made: {type(error).__name__}: {error}\n{LATER}"
    print(f"\nmimik: {text}", file=sys.stderr, flush=True)


def check(project: Path) -> None:
    """For DVC's first stage: raise `UserError` while Snakemake runs, or if DVC does not know what it made."""
    marks = list(_marks(project))
    running = [mark.name for mark in marks if _runs(mark)]
    if running:
        raise UserError(
            f"snakemake is running in this project (process {', '.join(running)}), and DVC would delete what it makes. "
            "Wait until it has finished, then run the same command again."
        )
    if _locked(project):
        raise UserError(
            "Snakemake holds its lock (.snakemake/locks): it is running in this project, or was killed. While it "
            "runs, DVC would delete what it makes: wait until it has finished. If it is not running, run `snakemake "
            "--unlock`, then `mimik dvc`, then the same command again."
        )
    if marks:
        raise UserError(
            "DVC has no record of what the last runs of snakemake made here, and would delete it to make it again. "
            "Run `mimik dvc` to record it, then the same command again. (To have it made again instead: rm -r "
            f"{MARKS})"
        )


def tell(project: Path) -> str:
    """Make DVC agree with what Snakemake has made, and say so.

    Only results that Snakemake takes for up to date with params.yaml as it stands and with the source files, that it
    made itself, and that nobody has changed since. DVC keeps a copy of them in its cache.

    Returns:
        a sentence for the person at the keyboard.

    Raises:
        UserError: DVC could not be told, with the reason.
    """
    if not (project / ".dvc").is_dir():
        raise UserError("this is not a DVC project yet; run `dvc init` to make it one.")
    (project / ".dvc" / "tmp").mkdir(exist_ok=True)
    with FileLock(project / ".dvc" / "tmp" / "mimik.lock"):  # runs that end together: one after the other
        return _tell(project)


def _tell(project: Path) -> str:
    params = resolution.load(project / "params.yaml")
    stages.write_decisions(params, project)
    for package in stages.stage_table(params)["outside"]["folders"]:
        stages.write_outside(params, project, package)
    status = _status(project)
    first = [name for name in status if name.partition("@")[0] in (FIRST, OUTSIDE)]
    changed = [name for name in status if name not in first]
    known = {stage.name: stage for stage in _stages(project, params)}
    there = [known[name] for name in changed if name in known and (project / known[name].target).exists()]
    made = _made(project, there) if there else []
    if made:
        _check_room(project, made)
        _commit(project, [stage.name for stage in made])
    own = _own(project)
    others = [mark for mark in _marks(project) if mark != own and _runs(mark)]
    if others:
        _forget(project, [mark for mark in _marks(project) if mark not in others])
        return (
            f"DVC has recorded what this run made. snakemake is still running here (process "
            f"{', '.join(mark.name for mark in others)}): `dvc repro` has to wait until it has finished."
        )
    _forget(project, _marks(project))
    if first:
        try:
            _commit(project, first)
        except UserError:
            (project / MARKS).mkdir(exist_ok=True)
            own.touch()
            raise
    unlike = [stage.name for stage in there if stage not in made]
    if unlike:
        return (
            f"DVC has not recorded {', '.join(unlike)}: made with settings other than those in params.yaml, with other "
            "code than the current one or not by snakemake, or changed since. `dvc repro` would delete these results "
            "and make them again; `dvc commit --force STAGE` records them unchanged."
        )
    return "DVC is up to date: `dvc repro` makes none of these results again."


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml."""

    name: str
    target: str
    """The file by which Snakemake is asked for it, relative to the project."""
    outs: tuple[str, ...]
    """What it makes, files and folders."""


def _stages(project: Path, params: resolution.Params) -> Iterator[Stage]:
    """The stages of dvc.yaml that are jobs of Snakemake."""
    table = stages.stage_table(params, project)
    written = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name, stage in written.items():
        if name in (FIRST, OUTSIDE):
            continue
        items: Mapping[str, Mapping[str, Any]] = {"": {}}
        if "foreach" in stage:
            group, _, rule = stage["foreach"].strip("${}").partition(".")
            items = table[group][rule]
            stage = stage["do"]
        outs = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
        paths = [out if isinstance(out, str) else next(iter(out)) for out in outs]
        for key, item in items.items():
            target, *filled = (_filled(text, item) for text in (stage["cmd"].rpartition(" -- ")[2], *paths))
            yield Stage(f"{name}@{key}" if key else name, target, tuple(filled))


def _filled(text: str, item: Mapping[str, Any]) -> str:
    return re.sub(r"\$\{item\.(\w+)\}", lambda found: str(item[found[1]]), text)


def _made(project: Path, asked: Sequence[Stage]) -> list[Stage]:
    """Those whose results Snakemake made itself, would not make again, and that are as they were then.

    Snakemake is asked again: what it planned when the run began may have been for settings (`--config`) and code other
    than the current ones. Where it has no record of a file, as in a clone, it says nothing about it.
    """
    text = _python(project, "-m", "snakemake", "--summary", "--", *(stage.target for stage in asked))
    rows = [line.split("\t") for line in text.splitlines() if "\t" in line]
    plans = {row[0]: row[-1] for row in rows}
    found = []
    for stage in asked:
        declared = [file for file in plans if any(file == out or file.startswith(f"{out}/") for out in stage.outs)]
        ends = [_made_at(project, file) for file in declared]
        if plans.get(stage.target) != "no update" or None in ends:
            continue
        last = max(end for end in ends if end is not None)
        if all(_modified(file) <= last for out in stage.outs for file in _files(project / out)):
            found.append(stage)
    return found


def _made_at(project: Path, file: str) -> float | None:
    """When Snakemake made a file, if it has a record of that and the file is as old as the record says."""
    name = urlsafe_b64encode(file.encode()).decode()
    length = 254  # Snakemake's folders for longer names
    parts = [name[start : start + length] for start in range(0, len(name), length)]
    record = project.joinpath(".snakemake", "metadata", *(f"@{part}" for part in parts[:-1]), parts[-1])
    try:
        end: float = read_json(record)["endtime"]
    except (UserError, KeyError, TypeError):
        return None
    there = project / file
    return end if there.exists() and _modified(there) == end else None


def _modified(file: Path) -> float:
    return file.stat().st_mtime


def _files(path: Path) -> Iterator[Path]:
    return (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else iter([path])


def _check_room(project: Path, made: Sequence[Stage]) -> None:
    """DVC copies what stages made into its cache: raise `UserError` where that would fill the disk."""
    size = sum(file.stat().st_size for stage in made for out in stage.outs for file in _files(project / out))
    if size > shutil.disk_usage(project).free:
        cache = Path(_dvc(project, "cache", "dir").strip() or project / ".dvc")
        place = next(folder for folder in (cache, *cache.parents) if folder.exists())
        free = shutil.disk_usage(place).free
        if size > free:
            raise UserError(
                f"it keeps a copy of every result, for which {size / 1e9:.1f} GB are needed, and {free / 1e9:.1f} GB "
                f"are free at {place}. Free some room, or give DVC another disk: `dvc cache dir --local FOLDER`."
            )
    if size > 1e9:
        print(f"mimik: DVC is copying {size / 1e9:.1f} GB", file=sys.stderr, flush=True)


def _commit(project: Path, names: Sequence[str]) -> None:
    """Tell DVC of stages. Their files stay untouched: linked anew they would be newer than Snakemake's records."""
    _dvc(project, "commit", "--force", "--quiet", "--no-relink", *names)


def _status(project: Path) -> list[str]:
    """Names of the stages that DVC would run again."""
    text = _dvc(project, "status", "--json")
    return list(json.loads(text[text.index("{") :]))


def _dvc(project: Path, *arguments: str) -> str:
    return _python(project, "-m", "dvc", *arguments)


def _python(project: Path, *arguments: str) -> str:
    """What a program prints. Raises `UserError` with its own reason when it fails."""
    command = [str(sys.executable), *arguments]
    done = subprocess.run(command, cwd=project, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        text = done.stdout + done.stderr
        reason = re.search(r"^(?:ERROR|mimik): (.+?)(?=\n\s*\n|\Z)", text.strip(), re.MULTILINE | re.DOTALL)
        raise UserError(reason[1] if reason else f"`{' '.join(arguments)}` failed. {text.strip()[-500:]}")
    return done.stdout


def _called_by_dvc() -> bool:
    """Whether this Snakemake runs as a stage of DVC, which knows what its stages make."""
    return "DVC_STAGE" in os.environ


def _dvc_runs(project: Path) -> str | None:
    """The process of DVC that is running a stage here: DVC's own record names it."""
    from psutil import pid_exists

    try:
        written = json.loads((project / ".dvc" / "tmp" / "rwlock").read_text(encoding="utf-8"))["write"]
        entries = [(int(entry["pid"]), str(entry["cmd"])) for entry in written.values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return next((f"process {number}: {command}" for number, command in entries if pid_exists(number)), None)


def _locked(project: Path) -> bool:
    return any((project / ".snakemake" / "locks").glob("*.lock"))


def _own(project: Path) -> Path:
    return project / MARKS / f"{os.getpid()}@{platform.node()}"


def _marks(project: Path) -> list[Path]:
    return sorted((project / MARKS).glob("*"))


def _runs(mark: Path) -> bool:
    """Whether the run that left a mark goes on: it holds the file until it ends, also when it is killed."""
    if mark in _held:
        return True
    try:
        with FileLock(mark, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a disk without locks
        return False


def _forget(project: Path, marks: Sequence[Path]) -> None:
    for mark in marks:
        mark.unlink(missing_ok=True)
        if mark in _held:
            _held.pop(mark).release()
    with contextlib.suppress(OSError):  # others' marks are there, or there never was one
        (project / MARKS).rmdir()
