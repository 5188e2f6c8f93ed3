"""A real browser for tests: Chromium without a window, driven through its DevTools protocol over two pipes."""

import base64
import fcntl
import itertools
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)


class Tab:
    """One page of a browser."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._write, self._read = to_browser, from_browser
        self._numbers, self._rest, self._session = itertools.count(1), b"", ""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def send(self, command: str, **arguments: Any) -> Any:
        """A command of the protocol, and its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": command, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                self._rest += os.read(self._read, 1 << 20)
            line, self._rest = self._rest.split(b"\0", 1)
            reply = json.loads(line)
            if reply.get("id") == number:
                assert "error" not in reply, (command, reply)
                return reply["result"]

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript; a promise is waited for."""
        reply = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Until an expression of JavaScript is true."""
        end = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < end, f"still not: {condition}"
            time.sleep(0.02)

    def open(self, address: str) -> None:
        """Load a page."""
        self.send("Page.navigate", url=address)
        self.wait(f"document.readyState === 'complete' && location.href === {json.dumps(address)}")

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        text = {"text": key} if len(key) == 1 else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def picture(self) -> bytes:
        """What the page shows, as PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])


@contextmanager
def browser(folder: Path) -> Iterator[Tab]:
    """A browser that keeps its profile and what it downloads in `folder`."""
    browser_reads, we_write = os.pipe()
    we_read, browser_writes = os.pipe()
    # The browser wants its ends under the numbers 3 and 4, so none of ours may be called that.
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (browser_reads, browser_writes)]
    log = os.open(folder / "chromium.log", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    process = os.posix_spawn(
        PROGRAM,
        [PROGRAM, *options, f"--user-data-dir={folder / 'profile'}", "--remote-debugging-pipe", "about:blank"],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate((log, log, *ends), 1)],
    )
    for end in (browser_reads, browser_writes, *ends, log):
        os.close(end)
    try:
        tab = Tab(we_write, we_read)
        tab.send("Page.enable")
        tab.send("Runtime.enable")
        yield tab
    finally:
        os.kill(process, signal.SIGTERM)
        os.waitpid(process, 0)
        os.close(we_write)
        os.close(we_read)
