"""Asks the process of `tests.workflow.programs` for a program, and ends like it. Imports little, to start quickly."""

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence


def ask(
    place: str,
    command: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    descriptors: Sequence[int],
    limit: float | None = None,
) -> tuple[int | None, float]:
    """Have a program run, and wait for its end.

    Args:
        place: the socket on which the process listens.
        command: the program's name and arguments.
        folder, environment: those that it starts with.
        descriptors: its standard input, output and error.
        limit: after so many seconds it is killed, with what it started.

    Returns:
        its exit status, None if it was killed at the limit, and the seconds of the processor that it and what it
        started have taken.
    """
    asked = {"command": [*command], "folder": folder, "environment": dict(environment), "limit": limit}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        text = json.dumps(asked).encode() + b"\n"
        sent = socket.send_fds(connection, [text], [*descriptors])
        connection.sendall(text[sent:])
        status, seconds = json.loads(connection.makefile().readline())
    return status, seconds


if __name__ == "__main__":
    here = os.getcwd()  # noqa: PTH109  without importing pathlib
    status, _ = ask(sys.argv[1], sys.argv[2:], here, os.environ, (0, 1, 2))
    sys.exit(status if status is not None and status >= 0 else 1)
