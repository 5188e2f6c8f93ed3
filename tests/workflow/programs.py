"""Snakemake and DVC without the time that their imports take, which is most of what a small project costs them.

A process that has imported them forks for every call. The call has the arguments, folder, environment and output files
of a program that a person starts, and ends like one.
"""

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path

NAMES = ("snakemake", "dvc")


class Programs:
    """The process that forks."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        atexit.register(self.close)

    def run(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], output: Sequence[Path], limit: float
    ) -> tuple[int, float]:
        """Run one of `NAMES`. Returns the exit status and the seconds of the processor, of what it started too.

        Raises:
            subprocess.TimeoutExpired: it took longer than `limit` seconds, and was killed with what it started.
        """
        asked = {
            "command": command,
            "folder": str(folder),
            "environment": dict(environment),
            "output": list(map(str, output)),
            "limit": limit,
        }
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        status, seconds = json.loads(self.process.stdout.readline())
        if status is None:
            raise subprocess.TimeoutExpired(list(command), limit)
        return status, seconds

    def close(self) -> None:
        """End the process."""
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()


def _serve() -> None:
    """Answer a line with a line, until there are no more."""
    mains = {name: entry_points(group="console_scripts")[name].load() for name in NAMES}
    # What their main functions import.
    importlib.import_module("dvc.repo")
    from dvc.cli.parser import get_main_parser
    from snakemake.cli import get_argument_parser

    get_main_parser()
    get_argument_parser()

    for line in sys.stdin:
        asked = json.loads(line)
        name = asked["command"][0]
        child = os.fork()
        if not child:
            _become(asked)
            sys.exit(mains[name]())
        print(json.dumps(_wait(child, asked["limit"])), flush=True)


def _become(asked: dict) -> None:  # type: ignore[type-arg]
    os.setsid()
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    opened = [
        os.open(os.devnull, os.O_RDONLY),
        *(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for file in asked["output"]),
    ]
    for number, descriptor in enumerate(opened):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  the old one has read ahead
    folder = Path(sys.executable).parent
    sys.path[0] = str(folder)
    sys.argv = [str(folder / asked["command"][0]), *asked["command"][1:]]


def _wait(child: int, limit: float) -> tuple[int | None, float]:
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.wait4(child, 0)
    return None, limit


if __name__ == "__main__":
    _serve()
