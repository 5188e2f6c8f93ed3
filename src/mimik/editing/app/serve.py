"""`mimik app`: the page, served on this machine."""

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from mimik.editing.app.page import CSS, page
from mimik.editing.app.studio import LARGEST_FILE, Studio
from mimik.errors import UserError
from mimik.settings.params import Params

POLICY = b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
"""What the browser may load: nothing from other machines."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]


class OwnPagesOnly:
    """ASGI middleware that adds `POLICY` to every answer."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def answer(event: Scope) -> None:
            if event["type"] == "http.response.start":
                event["headers"] = [*event.get("headers", []), (b"content-security-policy", POLICY)]
            await send(event)

        await self._app(scope, receive, answer)


def run(folders: Sequence[Path], params: Params | None, host: str, port: int) -> None:
    """Serve the app until it is stopped.

    Args:
        folders: the models.
        params: as for `Studio`.
        host, port: where to listen.

    Raises:
        UserError: gradio is not installed, or the port is taken.
    """
    with started(folders, params, host, port) as (address, wait):
        names = ", ".join(map(str, folders)) or "none"
        print(f"{address}: open it in a browser. Models: {names}. To stop: Ctrl-C.", flush=True)
        if host not in ("127.0.0.1", "localhost", "::1"):
            print("Everybody who can reach this machine can use the app; it asks for no password.", file=sys.stderr)
        wait()


@contextmanager
def started(
    folders: Sequence[Path], params: Params | None, host: str, port: int
) -> Iterator[tuple[str, Callable[[], None]]]:
    """The running app: its address, and a function that returns when it is interrupted. Arguments as for `run`."""
    before = signal.signal(signal.SIGTERM, _stop)  # so that the folder is removed then, too
    try:
        with TemporaryDirectory(prefix="mimik-app-", ignore_cleanup_errors=True) as folder:
            yield from _started(folders, params, host, port, Path(folder))
    finally:
        signal.signal(signal.SIGTERM, before)


def _started(
    folders: Sequence[Path], params: Params | None, host: str, port: int, place: Path
) -> Iterator[tuple[str, Callable[[], None]]]:
    # Read by gradio when it is imported and when its parts are made: uploads lie where they are removed.
    os.environ |= {"GRADIO_TEMP_DIR": str(place), "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    gradio = _gradio()
    studio = Studio(folders, params, place)
    blocks = page(studio, place, gradio)
    try:
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=f"{LARGEST_FILE}mb",
            footer_links=["api"],
            ssr_mode=False,
            # Fonts of the machine; gradio's own would be looked up elsewhere by some themes.
            theme=gradio.themes.Default(primary_hue="blue", font=["system-ui"], font_mono=["ui-monospace"]),
            css=CSS,
            app_kwargs={"middleware": [(OwnPagesOnly, (), {})]},
        )
    except OSError as error:
        raise UserError(
            f"{host}:{port}: cannot be listened on; another program may do so. Choose another with --port."
        ) from error
    try:
        yield address, blocks.block_thread
    finally:
        blocks.close(verbose=False)
        studio.close()


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _gradio() -> Any:
    try:
        import gradio
    except ImportError as error:
        raise UserError(f"mimik app needs gradio ({error}). Install it with `pip install 'mimik[app]'`.") from error
    return gradio
