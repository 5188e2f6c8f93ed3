"""The pages in a real browser, from the first question to the table."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mimik.study.analysis import analyse
from mimik.study.answers import read_answers
from mimik.study.key import Key
from mimik.study.serving import server
from tests.chromium import PROGRAM, Tab, browser
from tests.study.raters import answers_of, prefers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAM, reason="Chromium is not installed (apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def answer(tab: Tab, wanted: dict[tuple[str, int], str], most: int = 1000) -> int:
    """Answer by buttons and keys in turn, until the last question or the number is reached."""
    for number in range(most):
        tab.run("part('next').hidden || part('go').click()")
        tab.wait("ready || !part('end').hidden")
        if not tab.run("part('end').hidden"):
            return number
        pair, showing = tab.run("[sheet.trials[current][0], sheet.trials[current][4]]")
        value, before = wanted[pair, showing], tab.run("answers.size")
        if number % 2:
            tab.run(f"document.querySelector('#choices [data-value=\"{value}\"]').click()")
        else:
            place = tab.run(f"values(sheet.trials[current]).indexOf('{value}')")
            tab.press(tab.run(f"sheet.questions[sheet.trials[current][1]].choices[{place}][2][0]"))
        tab.wait(f"answers.size === {before + 1}")
    return most


def by_showing(key: Key, code: str) -> dict[tuple[str, int], str]:
    return {(a["pair"], a["showing"]): a["answer"] for a in answers_of(key, code, prefers("first"))["answers"]}


def test_a_file_arrives_and_is_analysed(study: tuple[Path, Key], tab: Tab) -> None:
    folder, key = study
    code = next(iter(key.sheets))
    page, wanted = (folder / "page" / f"{code}.html").as_uri(), by_showing(key, code)
    tab.open(page)
    tab.run("part('begin').click()")
    assert answer(tab, wanted, 5) == 5
    # Back, and another answer in the place of the first one.
    tab.wait("ready")
    tab.press("Backspace")
    tab.wait("ready && current === 4")
    assert tab.run("document.querySelectorAll('#choices [aria-pressed=true]').length") == 1
    # Closed and opened again: it goes on where it was.
    tab.open("about:blank")
    tab.open(page)
    assert tab.run("part('begin').textContent") == "Continue (5 of 42 answered)"
    tab.run("part('begin').click()")
    assert answer(tab, wanted) == 37
    assert "Save your answers as a file" in tab.run("part('sending').textContent")
    tab.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder / "answers"))
    tab.run("part('download').click()")
    arrived, end = folder / "answers" / f"{code}.json", time.monotonic() + 30
    while not arrived.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert read_answers(folder / "answers", key)[code] == wanted
    assert "| first | 0.0 (0.0 to 0.0) | 0.0 (0.0 to 0.0) | 100.0 (100.0 to 100.0) | 100.0" in analyse(folder)
    # The pictures were shown, at their shape, and nothing was loaded from anywhere else.
    told = "performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert all(name.startswith((folder / "page").as_uri()) for name in tab.run(told))


def test_a_picture_that_is_missing_is_told(study: tuple[Path, Key], tab: Tab) -> None:
    folder, key = study
    code = list(key.sheets)[1]
    for picture in (folder / "page" / "images").iterdir():
        picture.unlink()
    tab.open((folder / "page" / f"{code}.html").as_uri())
    tab.run("part('begin').click(), part('go').click()")
    tab.wait("!part('broken').hidden")
    tab.press("0")
    assert tab.run("answers.size") == 0 and tab.run("part('choices').firstChild.disabled")


def test_answers_reach_the_server_as_they_are_given(study: tuple[Path, Key], tab: Tab) -> None:
    folder, key = study
    code = list(key.sheets)[2]
    arrived = folder / "answers" / f"{code}.json"
    with server(folder, key, 0) as served:
        running = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        running.start()
        tab.open(f"http://127.0.0.1:{served.server_address[1]}/{code}.html")
        tab.run("part('begin').click()")
        answer(tab, by_showing(key, code), 3)
        tab.wait("sent === 3")
        assert len(json.loads(arrived.read_text())["answers"]) == 3
        served.shutdown()
        running.join()
    answer(tab, by_showing(key, code), 1)
    tab.wait("!part('warning').hidden")
    assert "does not reply" in tab.run("part('warning').textContent")
