"""Snakemake and DVC without the time that their imports take, which is most of what a small project costs them.

A process that has imported them forks for every call. The call has the arguments, folder, environment and output files
of a program that a person starts, and ends like one.
"""

import atexit
import contextlib
import gc
import importlib
import json
import math
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NoReturn

if __name__ != "__main__":
    from tests.workflow.asking import ask

NAMES = ("snakemake", "dvc")
LATER = (
    *("dvc.cachemgr", "dvc.data_cloud", "dvc.lock", "dvc.repo", "dvc.repo.artifacts", "dvc.repo.datasets"),
    *("dvc.repo.graph", "dvc.repo.index", "dvc.repo.metrics", "dvc.repo.params", "dvc.repo.plots", "dvc.repo.stage"),
    *("dvc.rwlock", "dvc.scm", "dvc.utils.strictyaml", "dvc_data.hashfile.db.local", "dvc_data.hashfile.status"),
    *("configobj", "dulwich.ignore", "dulwich.worktree", "fsspec.implementations.memory", "networkx", "pyparsing"),
    *("jsonschema", "nbformat", "pandas", "rich.json", "ruamel.yaml", "smart_open", "snakemake.benchmark"),
    "snakemake.storage",
)
"""What they import when they are at work."""


class Programs:
    """The process that forks, and a folder for PATH with a `python` that asks it for `python -m snakemake`.

    A stage of DVC is such a command: its import would take most of the stage's time.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="programs"))
        self.place = str(self.folder / "socket")
        shim = self.folder / "python"
        real, asking = (shlex.quote(str(path)) for path in (sys.executable, Path(__file__).with_name("asking.py")))
        shim.write_text(
            "#!/bin/sh\n"
            'if [ "$1 $2" = "-m snakemake" ]; then shift 2; '
            f'exec {real} -I -S {asking} {shlex.quote(self.place)} snakemake "$@"; fi\n'
            f'exec {real} "$@"\n'
        )
        shim.chmod(0o755)
        self.process = subprocess.Popen(
            [sys.executable, __file__, self.place], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        atexit.register(self.close)
        assert self.process.stdout and self.process.stdout.readline()

    def run(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], output: Sequence[Path], limit: float
    ) -> tuple[int, float]:
        """Run one of `NAMES`. Returns the exit status and the seconds of the processor, of what it started too.

        Raises:
            subprocess.TimeoutExpired: it took longer than `limit` seconds, and was killed with what it started.
        """
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(Path(os.devnull).open("rb"))]
            opened += [stack.enter_context(file.open("wb")) for file in output]  # type: ignore[arg-type]
            descriptors = [file.fileno() for file in opened]
            status, seconds = ask(self.place, command, str(folder), environment, descriptors, limit)
        if status is None:
            raise subprocess.TimeoutExpired(list(command), limit)
        return status, seconds

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _serve(place: str) -> None:
    """Answer whoever asks, several at a time: a stage asks while the DVC that runs it is still at work."""
    mains = {name: entry_points(group="console_scripts")[name].load() for name in NAMES}
    for name in LATER:
        importlib.import_module(name)
    # What their main functions import.
    from dvc.cli.parser import get_main_parser
    from snakemake.cli import get_argument_parser

    get_main_parser()
    get_argument_parser()

    gc.freeze()  # looking at all of it would copy it into every process
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(place)
    listening.listen()
    print("ready", flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer
    while True:
        connection, _ = listening.accept()
        if os.fork():
            connection.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listening.close()
        asked, descriptors = _read(connection)
        child = os.fork()
        if not child:
            connection.close()
            _become(asked, descriptors)
            _end(mains[asked["command"][0]])
        connection.sendall(json.dumps(_wait(child, asked["limit"])).encode() + b"\n")
        os._exit(0)


def _read(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A line, and the standard input, output and error that came with it."""
    text, descriptors, _, _ = socket.recv_fds(connection, 65536, 3)
    while not text.endswith(b"\n"):
        text += connection.recv(65536)
    return json.loads(text), descriptors


def _become(asked: dict[str, Any], descriptors: list[int]) -> None:
    os.setsid()
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    folder = Path(sys.executable).parent
    sys.path[0] = str(folder)
    sys.argv = [str(folder / asked["command"][0]), *asked["command"][1:]]


def _end(main: Callable[[], Any]) -> NoReturn:
    """Run a program to its end, without the half second that an interpreter takes to free all that it has imported."""
    try:
        status = main()
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if not isinstance(status, int | None):
        print(status, file=sys.stderr)
        status = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit((status or 0) & 255)


def _wait(child: int, limit: float | None) -> tuple[int | None, float]:
    """Exit status and seconds of the processor."""
    deadline = time.monotonic() + (math.inf if limit is None else limit)
    while time.monotonic() < deadline:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.wait4(child, 0)
    return None, float(limit or 0)


if __name__ == "__main__":
    _serve(sys.argv[1])
