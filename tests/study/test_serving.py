import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mimik.errors import UserError
from mimik.study.answers import read_answers
from mimik.study.key import Key
from mimik.study.serving import server
from tests.study.raters import answers_of, prefers


@pytest.fixture
def port(study: tuple[Path, Key]) -> Iterator[int]:
    with server(*study, 0) as served:
        running = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        running.start()
        yield served.server_address[1]
        served.shutdown()
        running.join()


def ask(port: int, way: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sent = body if isinstance(body, str | None) else json.dumps(body)
    connection.request(way, path, sent, {"Content-Type": "application/json", **headers})
    reply = connection.getresponse()
    return reply.status, reply.read()


def test_answers_are_written_as_they_are_given(study: tuple[Path, Key], port: int) -> None:
    folder, key = study
    code = next(iter(key.sheets))
    whole = answers_of(key, code, prefers("first"))
    for number in (1, 2, 42):
        assert ask(port, "POST", "/answers", {**whole, "answers": whole["answers"][:number]}) == (200, b"kept")
        assert len(read_answers(folder / "answers", key)[code]) == number
    status, told = ask(port, "POST", "/answers", {**whole, "answers": whole["answers"][:3]})
    assert status == 409 and b"stored already" in told
    whole["answers"][0]["pair"] = "p99"
    status, told = ask(port, "POST", "/answers", whole)
    assert status == 409 and b"there is no pair 'p99'" in told
    assert len(read_answers(folder / "answers", key)[code]) == 42
    assert [path.name for path in (folder / "answers").iterdir()] == [f"{code}.json"]


def test_only_pages_and_pictures_are_served_and_only_to_this_computer(study: tuple[Path, Key], port: int) -> None:
    folder, key = study
    code = next(iter(key.sheets))
    status, page = ask(port, "GET", f"/{code}.html")
    assert status == 200 and b'<body data-save="answers">' in page
    picture = next((folder / "page" / "images").iterdir())
    assert ask(port, "GET", f"/images/{picture.name}") == (200, picture.read_bytes())
    for path in ("/", "/key.json", "/../key.json", "/images/../../key.json", "/%2e%2e/key.json", "/nobody.html"):
        assert ask(port, "GET", path)[0] == 404
    assert ask(port, "GET", f"/{code}.html", Host="elsewhere.example")[0] == 403
    assert ask(port, "POST", "/answers", "{}", Host="elsewhere.example")[0] == 403
    assert ask(port, "POST", "/answers", "{}", **{"Content-Type": "text/plain"})[0] == 404
    assert ask(port, "POST", "/answers", "no json")[0] == 409
    assert ask(port, "POST", "/answers", **{"Content-Length": "99999999999"})[0] == 413


def test_a_port_that_is_taken_is_told(study: tuple[Path, Key], port: int) -> None:
    with pytest.raises(UserError, match=f"--port {port}: cannot be used"):
        server(*study, port)
