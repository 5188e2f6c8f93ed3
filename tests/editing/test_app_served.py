"""The app as programs and people meet it: over HTTP with gradio's client, and in a headless Chromium."""

import os
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mimik.editing import editor as editing
from mimik.errors import UserError
from mimik.storage.provenance import MARK
from tests.editing.models import make_model
from tests.editing.test_files import FACES, changed, photograph

pytest.importorskip("gradio", reason="the app needs the extra: pip install 'mimik[app]'")
pytest.importorskip("cv2", reason="faces are put back with cv2, which comes with pip install 'mimik[mesh]'")

pytestmark = pytest.mark.slow

WAIT = 120_000
"""Longest that the browser waits for something to appear, milliseconds: machines may be busy."""


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running app with two models; pictures 200 px wide have three faces, others none."""
    from mimik.editing.app import serve

    root = tmp_path_factory.mktemp("results") / "faces"
    root.mkdir()
    models = [make_model(root / "labels"), make_model(root / "units", space="action_units", form="relative")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(editing.PhotographEditor, "faces", lambda self, seen: list(FACES) if seen.shape[1] == 200 else [])
        with serve.started(models, None, "127.0.0.1", free_port()) as (address, _):
            yield address
            assert any(Path(os.environ["GRADIO_TEMP_DIR"]).rglob("me.png"))
    assert not Path(os.environ["GRADIO_TEMP_DIR"]).exists()  # no photograph stays


@pytest.fixture(scope="module")
def client(address: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from gradio_client import Client

    return Client(address, download_files=tmp_path_factory.mktemp("downloads"), verbose=False)


def test_the_api_offers_three_endpoints(client: Any) -> None:
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/models", "/faces", "/edit"}


def test_a_program_edits_a_photograph(client: Any, tmp_path: Path) -> None:
    from gradio_client import handle_file

    me = photograph(tmp_path / "me.png")
    labels, units = client.predict(api_name="/models")
    assert (labels["name"], labels["space"], labels["to"]) == (
        "faces/labels",
        "expression",
        ["neutral", "happiness", "anger"],
    )
    assert "AU12" in units["names"]
    faces = client.predict(handle_file(me), api_name="/faces")
    assert [face["number"] for face in faces] == [1, 2, 3]
    assert faces[0]["box"][0] == 20 and faces[0]["action_units"]["AU45"] == 1
    mixed = client.predict(handle_file(me), "faces/labels", "anger=0.5,happiness=0.5", api_name="/edit")
    assert changed(me, mixed) == [0, 1, 2]
    edited = Path(client.predict(handle_file(me), "faces/labels", "anger", face="1", api_name="/edit"))
    assert changed(me, edited) == [2]
    assert MARK.encode() in edited.read_bytes()
    smile = client.predict(handle_file(me), "faces/units", action_units="12=+0.5,6=+0.3", api_name="/edit")
    assert changed(me, smile) == [0, 1, 2]
    other = {"like": handle_file(photograph(tmp_path / "you.png")), "like_face": "2"}
    assert changed(me, client.predict(handle_file(me), "faces/units", face="2", **other, api_name="/edit")) == [0]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"model": "faces/labels", "to": "joy"}, "Expression joy: this model knows"),
        ({"model": "other", "to": "anger"}, "model other: Known: "),
        ({"model": "faces/labels", "to": "anger=0.5,joy"}, "expected a name and a number for each"),
        ({"model": "faces/labels", "to": "anger", "face": "4"}, "there is no face number 4"),
    ],
)
def test_a_program_is_told_what_is_wrong(client: Any, tmp_path: Path, wanted: dict[str, str], message: str) -> None:
    from gradio_client import handle_file

    with pytest.raises(Exception, match=message):
        client.predict(handle_file(photograph(tmp_path / "me.png")), **wanted, api_name="/edit")


def test_files_of_the_machine_are_not_to_be_had(address: str, tmp_path: Path) -> None:
    import httpx

    own = str(photograph(tmp_path / "own.png"))
    given = {"path": own, "meta": {"_type": "gradio.FileData"}}
    call = httpx.post(f"{address}gradio_api/call/faces", json={"data": [given]}).json()["event_id"]
    assert "event: error" in httpx.get(f"{address}gradio_api/call/faces/{call}", timeout=60).text
    assert httpx.get(f"{address}gradio_api/file={own}").status_code == 403


def test_a_port_that_is_taken_is_named(address: str, tmp_path: Path) -> None:
    from mimik.editing.app import serve

    port = int(address.strip("/").rpartition(":")[2])
    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match=rf"127\.0\.0\.1:{port}: cannot be"):
        patch.setitem(os.environ, "GRADIO_TEMP_DIR", "")  # that of the other app is set again
        with serve.started([], None, "127.0.0.1", port):
            pass


def test_four_clients_edit_at_once(address: str, tmp_path: Path) -> None:
    from gradio_client import Client, handle_file

    me = photograph(tmp_path / "me.png")

    def edits(number: int) -> int:
        own = Client(address, download_files=tmp_path / f"{number}", verbose=False)
        files = [own.predict(handle_file(me), "faces/labels", "anger", face="2", api_name="/edit") for _ in range(3)]
        return sum(changed(me, file) == [0] for file in files)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(edits, range(4))) == [3] * 4


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    reason = "the browser test needs Chromium and pip install playwright"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip(reason)
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The app's page; at the end, nothing was asked of another machine."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(WAIT)
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address, timeout=WAIT)
    opened.get_by_text("happiness", exact=True).first.wait_for()
    yield opened
    opened.close()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def drop(page: Any, path: Path) -> None:
    """Drop a file on the page as a person does."""
    held = page.evaluate_handle(
        """([bytes, name]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, {type: 'image/png'}));
            return transfer;
        }""",
        [list(path.read_bytes()), path.name],
    )
    page.dispatch_event("#photograph .upload-container", "drop", {"dataTransfer": held})


def shown(page: Any) -> bytes:
    """The file of the edit that the page shows."""
    picture = page.locator("#slider img").last
    picture.wait_for()
    content: bytes = page.request.get(picture.get_attribute("src")).body()
    return content


def changes(page: Any, before: bytes) -> bool:
    """Wait for another edit than this one. Raises playwright's TimeoutError if none appears."""
    for _ in range(WAIT // 100):
        if shown(page) != before:
            return True
        page.wait_for_timeout(100)
    return False


def test_a_person_edits_a_photograph(page: Any, tmp_path: Path) -> None:
    drop(page, photograph(tmp_path / "me.png"))
    first = shown(page)
    assert MARK.encode() in first
    page.locator("#face").get_by_text("3", exact=True).wait_for()
    page.locator("#strength input[type=range]").press("ArrowLeft")
    assert changes(page, first)
    weaker = shown(page)
    page.locator("[id='only-anger']").click()
    assert changes(page, weaker)
    alone = shown(page)
    assert page.locator("[id='to-happiness'] input[type=range]").input_value() == "0"
    page.locator("[id='to-happiness'] input[type=number]").fill("0.4")  # a mix of two
    assert changes(page, alone)
    page.locator("#save").click()
    page.locator("#saved a").first.wait_for()
    with page.expect_download() as download:
        page.locator("#saved a").first.click()
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.name == "me_edited.png" and MARK.encode() in saved.read_bytes()
    assert np.asarray(Image.open(saved)).shape == (200, 200, 3)


def test_action_units_strips_comparisons_and_cards(page: Any, tmp_path: Path) -> None:
    page.set_input_files("#photograph input[type=file]", photograph(tmp_path / "me.png"))
    first = shown(page)
    page.locator("#model input").click()
    page.get_by_role("option", name="faces/units").click()
    page.locator("#AU12 input[type=range]").wait_for()
    assert changes(page, first)
    before = shown(page)
    page.locator("#AU12 input[type=range]").press("End")
    assert changes(page, before)
    smiling = shown(page)
    page.locator("#like").get_by_text("Like another face").click()
    page.set_input_files("#other input[type=file]", photograph(tmp_path / "you.png"))
    assert changes(page, smiling)  # its units in place of the expression's
    page.locator("#asked").wait_for(state="hidden")
    page.locator("#other_face").get_by_text("3", exact=True).wait_for()
    page.get_by_role("tab", name="Expressions").click()
    page.locator("#all").click()
    page.locator("#strip img").nth(3 * 4 - 1).wait_for()
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare").click()
    page.locator("#compared img").nth(3 * 3 - 1).wait_for()
    page.get_by_role("tab", name="About").click()
    page.get_by_role("heading", name="Responsible use").wait_for()


def test_what_cannot_be_edited_is_said_on_the_page(page: Any, tmp_path: Path) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"no picture")
    page.set_input_files("#photograph input[type=file]", tmp_path / "torn.jpg")
    page.locator("#message").get_by_text("torn.jpg: expected a photograph").wait_for()
    page.get_by_label("Remove Image").click()
    page.locator("#message").get_by_text("torn.jpg").wait_for(state="detached")
    page.set_input_files("#photograph input[type=file]", photograph(tmp_path / "empty.png", 120))
    page.locator("#message").get_by_text("no face was found").wait_for()


def test_on_a_phone_all_is_one_column_and_nothing_is_cut_off(page: Any, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.set_input_files("#photograph input[type=file]", photograph(tmp_path / "me.png"))
    shown(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    photo, result, controls = (page.locator(f"#{name}").bounding_box() for name in ("photo", "result", "controls"))
    assert photo["y"] < result["y"] < controls["y"]
