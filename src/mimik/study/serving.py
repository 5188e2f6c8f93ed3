"""A small server on this computer for the pages of a study, which writes every answer to disk as it is given.

It listens on the loopback address only, serves page/ only, and takes answers that `mimik.study.answers` accepts.
"""

import json
import re
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mimik.errors import UserError
from mimik.storage.files import read_json, write_json
from mimik.study.answers import REMEDY, checked
from mimik.study.key import Key, read_key
from mimik.study.pages import ANSWERS, IMAGES, PAGES

HOST = "127.0.0.1"

LONGEST = 10_000_000
"""Most bytes of a request."""

_KINDS = {".html": "text/html; charset=utf-8", ".png": "image/png"}
_FILE = re.compile(rf"/([a-z0-9]+\.html|{IMAGES}/[a-z0-9]+\.png)")


def serve(folder: Path, port: int, told: Callable[[str], None]) -> None:
    """Serve a study until it is interrupted (Ctrl-C).

    Raises:
        UserError: the folder is no study; the port is taken.
    """
    key = read_key(folder)
    with server(folder, key, port) as served:
        address = f"http://{HOST}:{served.server_address[1]}"
        for code in key.sheets:
            told(f"{address}/{code}.html")
        told(f"Answers are written to {folder / ANSWERS}. To end: Ctrl-C.")
        try:
            served.serve_forever()
        except KeyboardInterrupt:
            told("Ended. To go on: the same command; pages and answers are kept.")


def server(folder: Path, key: Key, port: int) -> ThreadingHTTPServer:
    """The server, not yet running; port 0 takes any free one."""
    writing = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        """One request."""

        server_version, sys_version = "mimik", ""

        def do_GET(self) -> None:
            """A page of a rater, or a picture."""
            path = self.path.split("?")[0]
            file = folder / PAGES / path[1:]
            if not self._is_local():
                return
            if not _FILE.fullmatch(path) or not file.is_file():
                self._reply(HTTPStatus.NOT_FOUND, "There is no such page. Open the link that you were given.")
                return
            content = file.read_bytes()
            if file.suffix == ".html":
                content = content.replace(b'<body data-save="">', b'<body data-save="answers">')
            self._reply(HTTPStatus.OK, content, _KINDS[file.suffix])

        def do_POST(self) -> None:
            """The answers of a rater so far."""
            if not self._is_local():
                return
            length = self.headers.get("Content-Length", "")
            # Other sites cannot send this kind without asking first, which is not answered.
            if self.path != "/answers" or self.headers.get("Content-Type") != "application/json":
                self._reply(HTTPStatus.NOT_FOUND, "Answers are sent as JSON to /answers.")
            elif not length.isascii() or not length.isdigit() or int(length) > LONGEST:
                self._reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The answers are too long.")
            else:
                body = self.rfile.read(int(length))
                try:
                    with writing:
                        _keep(folder / ANSWERS, key, body)
                except UserError as error:
                    self._reply(HTTPStatus.CONFLICT, str(error))
                else:
                    self._reply(HTTPStatus.OK, "kept")

        def _is_local(self) -> bool:
            """Whether the page was asked for by this computer's own name: no other site may point here."""
            name = self.headers.get("Host", "").rsplit(":", 1)[0]
            if name in (HOST, "localhost"):
                return True
            self._reply(HTTPStatus.FORBIDDEN, "This server answers requests of its own computer only.")
            return False

        def _reply(self, status: HTTPStatus, content: str | bytes, kind: str = "text/plain; charset=utf-8") -> None:
            body = content.encode() if isinstance(content, str) else content
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store" if kind != "image/png" else "max-age=3600")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing is logged: who asked when is nobody's business."""

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        raise UserError(f"--port {port}: cannot be used ({error.strerror}). Choose another one.") from error


def _keep(folder: Path, key: Key, body: bytes) -> None:
    """Write the answers of a rater, unless they are fewer than those that are there."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UserError("What was sent is not JSON.") from error
    rater, answers = checked(value, key, "the answers sent")
    path = folder / f"{rater}.json"
    if path.exists() and len(checked(read_json(path, REMEDY), key, str(path))[1]) > len(answers):
        raise UserError(
            "More answers of this rater are stored already, given in another browser. Go on there, or ask the person "
            "who runs the study."
        )
    write_json(path, value)
