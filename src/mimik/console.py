"""What a user sees of a job: progress on the screen, everything in the log, one message for a fault."""

import errno
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from mimik.errors import UserError
from mimik.storage.files import FULL

USER_ERROR = 2
"""Exit status after a `UserError`."""

SYSTEM = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, *FULL, errno.EIO, errno.EMFILE, errno.ENFILE),
        *(errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ESTALE, errno.EFBIG, errno.ENODEV),
    }
)
"""Numbers of the system's faults that are the machine's, not mimik's: a file that is missing is not among them."""


EVERY = 20.0
"""Seconds between two lines about one progress bar of a job that has a log."""


@contextmanager
def reported(log: Path | str | None = None) -> Iterator[None]:
    """Run a job: a `UserError` becomes one message and exit status 2; any other exception keeps its traceback.

    The same applies to faults of the system (`SYSTEM`): a folder that is not writable, a disk that is full or gone.

    Args:
        log: file that gets a copy of everything the block writes to standard output and standard error (of progress
            bars the final state); None for no log. Jobs that have one share the screen with others, so a progress bar
            becomes a line every `EVERY` seconds there, and a last one when it is complete.

    Raises:
        SystemExit: with status 2 after a `UserError` or a fault of the system, with status 1 after any other exception.
    """
    with _copied_to(log):
        try:
            yield
        except UserError as error:
            print(f"\nmimik: {error}", file=sys.stderr, flush=True)
            raise SystemExit(USER_ERROR) from None
        except OSError as error:
            if error.errno not in SYSTEM:
                traceback.print_exc()
                raise SystemExit(1) from None
            print(f"\nmimik: {_told(error)}", file=sys.stderr, flush=True)
            raise SystemExit(USER_ERROR) from None
        except Exception:
            # Printed here, while the log is still open: the interpreter would only write it to the screen.
            traceback.print_exc()
            raise SystemExit(1) from None


REMARK = rb"[IW]\d{4} \d\d:\d\d:\d|INFO: Created TensorFlow Lite|WARNING: All log messages before absl::InitializeLog"
"""How lines begin that absl and TensorFlow Lite write below the level of an error."""

_FILTER = """
import re, sys
remark, hidden, ended_well = re.compile(sys.argv[1].encode()), [], False
for line in sys.stdin.buffer:
    if line.endswith(b"\\0\\n"):
        line, ended_well = line[:-2], True
    if remark.match(line):
        hidden.append(line)
    else:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
if not ended_well:
    sys.stderr.buffer.writelines(hidden)
"""

_filtering = threading.RLock()
_readers: list[subprocess.Popen[bytes]] = []
"""The process that reads what native libraries write, while one does."""


@contextmanager
def without_remarks() -> Iterator[None]:
    """Keep remarks of native libraries (`REMARK`) off the screen; they write to file descriptor 2 past `sys.stderr`.

    Every other line is passed on as it comes. What was kept back is shown too when the block ends with an exception, or
    when a library ends the process: a process of its own reads, which outlives this one. One thread at a time. A block
    within another one adds nothing, so that many short blocks are made cheap by one around them.
    """
    with _filtering:
        if _readers:
            yield
            return
        sys.stderr.flush()
        screen = os.dup(2)
        with subprocess.Popen(
            [sys.executable, "-IS", "-c", _FILTER, REMARK.decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this process
        ) as reader:
            assert reader.stdin is not None
            _readers.append(reader)
            os.dup2(reader.stdin.fileno(), 2)
            try:
                yield
                sys.stderr.flush()
                os.write(2, b"\0\n")
            finally:
                _readers.clear()
                sys.stderr.flush()
                os.dup2(screen, 2)
                os.close(screen)


def _told(error: OSError) -> str:
    """A fault of the system in words: what, where, and that it is not mimik."""
    place = f"{error.filename}: " if error.filename is not None else ""
    other = f" (to {error.filename2})" if error.filename2 is not None else ""
    if error.errno in FULL:
        return f"{place}the disk is full{other}. Free some room and run the same command again."
    return f"{place}the system reports: {error.strerror}{other}. Fix this and run the same command again."


@contextmanager
def _copied_to(log: Path | str | None) -> Iterator[None]:
    if log is None:
        yield
        return
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    streams = sys.stdout, sys.stderr
    # File names may contain bytes that are not text.
    with _Log(Path(log).open("w", encoding="utf-8", errors="backslashreplace", buffering=1)) as opened:
        sys.stdout, sys.stderr = _Copy(streams[0], opened), _Copy(streams[1], opened)
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, _Copy):
                    stream.finish()
            sys.stdout, sys.stderr = streams


class _Log:
    """A file of lines. A full disk ends the log, not the job: the screen shows everything."""

    def __init__(self, file: TextIO) -> None:
        self._file: TextIO | None = file

    def write(self, text: str) -> None:
        """Write, as long as that works."""
        self._try(lambda file: file.write(text))

    def flush(self) -> None:
        """Flush, as long as that works."""
        self._try(lambda file: file.flush())

    def _try(self, action: Callable[[TextIO], object]) -> None:
        if self._file is None:
            return
        try:
            action(self._file)
        except OSError:
            self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # what could not be written is tried once more
                file.close()

    def __enter__(self) -> "_Log":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()


class _Copy:
    """A text stream that writes whole lines to the screen and to the log, so that jobs side by side stay readable.

    A carriage return takes back what stood on its line. A progress bar leaves one line in the log, and on the screen a
    line every `EVERY` seconds as well.
    """

    def __init__(self, screen: TextIO, log: "_Log") -> None:
        self._screen, self._log, self._line, self._shown = screen, log, "", time.monotonic()

    def write(self, text: str) -> int:
        """Write to both what is complete."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._end(line)
        state = _visible(self._line)
        if "\r" in self._line and state.strip() and time.monotonic() - self._shown >= EVERY:
            self._show(state)
        self._line = state + ("\r" if self._line.endswith("\r") else "")
        return len(text)

    def _end(self, line: str) -> None:
        self._log.write(_visible(line) + "\n")
        self._show(_visible(line))

    def _show(self, line: str) -> None:
        self._screen.write(line + "\n")  # at once: lines of other jobs come before or after it
        self._screen.flush()
        self._shown = time.monotonic()

    def flush(self) -> None:
        """Flush both."""
        self._screen.flush()
        self._log.flush()

    def finish(self) -> None:
        """Write the last line, if it has no end."""
        if _visible(self._line).strip():
            self._end(self._line)
        self._line = ""

    def __getattr__(self, name: str) -> object:
        return getattr(self._screen, name)  # isatty, fileno, encoding: those of the screen


def _visible(line: str) -> str:
    """What a terminal shows of a line with carriage returns in it."""
    return line.rstrip("\r").rsplit("\r", 1)[-1]
