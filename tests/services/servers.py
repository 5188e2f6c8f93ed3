"""Servers that a test starts for itself: on this machine's loopback only, their data in a folder of the test."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

POSTGRESQL = os.pathsep.join(str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
"""Where Debian has the programs of PostgreSQL: in no folder of the search path."""


def program(name: str, also: str = "") -> str | None:
    """A program of the search path, of `also`, or of the folders that only root has in its path."""
    return shutil.which(name, path=os.pathsep.join(filter(None, [os.environ["PATH"], also, "/usr/sbin", "/sbin"])))


def needs(*programs: str, modules: Sequence[str] = (), also: str = "", target: str) -> pytest.MarkDecorator:
    """A mark that skips tests where something is not installed, with what is missing as its reason."""
    missing = [name for name in programs if program(name, also) is None]
    missing += [f"Python's {name}" for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)} (`make {target}`)")


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with closing(socket.socket()) as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
    return port


def answers(port: int) -> bool:
    """Whether somebody listens on a port of the loopback."""
    with closing(socket.socket()) as tried:
        tried.settimeout(1)
        return tried.connect_ex(("127.0.0.1", port)) == 0


def until(reached: Callable[[], bool], what: str, seconds: float = 180) -> None:
    """Wait for a condition; fails, naming it, when it does not come true."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain until {what}"
        time.sleep(0.2)


def as_user(name: str | None) -> dict[str, Any]:
    """Arguments of `subprocess` to run a program as another user; none for None."""
    if name is None:
        return {}
    entry = pwd.getpwnam(name)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


class Server:
    """A program that runs until it is stopped; it and all that it started form one group of processes."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, user: str | None = None
    ) -> None:
        self.command, self.log, self.user = [*command], log, user
        self.environment = {**os.environ, **(environment or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, reached: Callable[[], bool]) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=self.environment, cwd=self.log.parent,
                start_new_session=True, **as_user(self.user),
            )  # fmt: skip
        running = self.process

        def up() -> bool:
            assert running.poll() is None, f"{self.command[0]} ended:\n{self.log.read_text()[-3000:]}"
            return reached()

        until(up, f"{self.command[0]} answers")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the whole group; what has not ended after some seconds is killed."""
        if self.process is None:
            return
        for number in (how, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                continue
        self.process.wait()
        self.process = None


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A PostgreSQL server with an empty database; yields its address for SQLAlchemy. It refuses to run as root."""
    user = "postgres" if os.geteuid() == 0 else None
    folder.mkdir(parents=True)
    if user is not None:
        # The folders above it are pytest's, which nobody else may enter; PostgreSQL gets one that it may.
        shutil.chown(folder, user)
    port, data = free_port(), folder / "data"
    made = [str(program("initdb", POSTGRESQL)), "-D", str(data), "-U", "mlflow", "--auth=trust", "--no-sync"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        made, cwd=folder, env=environment, capture_output=True, text=True, check=False, **as_user(user)
    )
    assert done.returncode == 0, done.stderr
    options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    (folder / "log").touch()
    server = Server([str(program("postgres", POSTGRESQL)), "-D", str(data), *options], folder / "log", user=user)
    server.start(lambda: answers(port) and "ready to accept connections" in server.log.read_text())
    try:
        yield f"postgresql://mlflow@127.0.0.1:{port}/postgres"
    finally:
        server.stop(signal.SIGINT)  # PostgreSQL's word for an end that does not wait for its clients


def mlflow_server(folder: Path, database: str, *arguments: str) -> tuple[Server, str]:
    """An MLflow server that stores the files of runs itself, not started yet, and its address."""
    folder.mkdir(parents=True)
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", database, "--artifacts-destination", str(folder / "artifacts"), *arguments),
    ]
    return Server(command, folder / "log"), f"http://127.0.0.1:{port}"
