import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mimik.console import reported, without_remarks
from mimik.errors import UserError


def test_a_user_error_is_one_message_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, reported(tmp_path / "logs" / "job.log"):
        raise UserError("photo.jpg: not an image")
    assert ended.value.code == 2
    screen = capsys.readouterr().err
    assert screen.strip() == "mimik: photo.jpg: not an image"
    assert (tmp_path / "logs" / "job.log").read_text().strip() == screen.strip()


def test_a_defect_keeps_its_traceback_on_the_screen_and_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, reported(tmp_path / "job.log"):
        raise KeyError("lost")
    assert ended.value.code == 1
    for text in (capsys.readouterr().err, (tmp_path / "job.log").read_text()):
        assert "Traceback" in text
        assert "KeyError: 'lost'" in text


def test_a_progress_bar_leaves_one_line_in_the_log_and_a_few_on_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("mimik.console.time.monotonic", lambda: clock[0])
    with reported(tmp_path / "job.log"):
        for second, text in (
            (1, "\r0%"),
            (10, "\r5"),
            (21, "0%"),
            (30, "\r60%"),
            (41, "\r99%"),
            (42, "\r100%"),
            (43, "\n"),
        ):
            clock[0] = second
            sys.stderr.write(text)
    assert (tmp_path / "job.log").read_text() == "100%\n"
    assert capsys.readouterr().err == "60%\n100%\n"


def test_a_progress_bar_that_clears_itself_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with reported(tmp_path / "job.log"):
        print("start")
        sys.stderr.write("\r50%\r   \r")
        sys.stderr.write("middle\n\r70%\r   \r")
        sys.stderr.write("\rend")
    assert (tmp_path / "job.log").read_text() == "start\nmiddle\nend\n"
    screen = capsys.readouterr()
    assert (screen.out, screen.err) == ("start\n", "middle\nend\n")


def test_the_streams_come_back(tmp_path: Path) -> None:
    before = sys.stdout, sys.stderr
    with reported(tmp_path / "job.log"):
        assert sys.stdout is not before[0]
        assert sys.stderr.isatty() == before[1].isatty()
    assert (sys.stdout, sys.stderr) == before


REMARKS = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
W0000 00:00:1763740000.123456    4711 inference_feedback_manager.cc:114] Feedback manager requires a model
I0000 00:00:1763740000.123456    4711 gl_context.cc:357] GL version
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
"""
FAULT = "E0000 00:00:1763740000.123456    4711 graph.cc:853] the model cannot be read\n"


def native(text: str) -> None:
    """Write as a native library does, past `sys.stderr`."""
    os.write(2, text.encode())


def test_remarks_of_native_libraries_are_not_shown_and_everything_else_is(capfd: pytest.CaptureFixture[str]) -> None:
    with without_remarks():
        native(REMARKS + FAULT + "cannot open the graph\n")
        native("W is a letter, without an end of line")
    assert capfd.readouterr().err == FAULT + "cannot open the graph\nW is a letter, without an end of line"


def test_remarks_are_shown_after_a_fault(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), without_remarks():
        native(REMARKS + FAULT)
        raise RuntimeError("the graph has errors")
    native("after\n")
    assert capfd.readouterr().err == FAULT + REMARKS + "after\n"


def test_blocks_within_a_block_share_its_reader(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started, plain = [], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **named: started.append(1) or plain(*given, **named))
    with without_remarks():
        for _ in range(3):
            with without_remarks():
                native(REMARKS)
        native(REMARKS + FAULT)
    assert capfd.readouterr().err == FAULT and len(started) == 1
    with without_remarks():
        native(REMARKS)
    assert capfd.readouterr().err == "" and len(started) == 2


def test_a_library_that_ends_the_process_is_heard() -> None:
    script = (
        "import os\nfrom mimik.console import without_remarks\n"
        f"with without_remarks():\n    os.write(2, {(REMARKS + FAULT).encode()!r})\n    os.abort()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -signal.SIGABRT
    assert done.stderr.startswith(FAULT) and all(line in done.stderr for line in REMARKS.splitlines())


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.ENAMETOOLONG, errno.EIO])
def test_what_the_system_refuses_is_one_sentence(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, reported():
        raise OSError(number, os.strerror(number), "results/metrics.json")
    assert ended.value.code == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("mimik: results/metrics.json: ") and "\n" not in told
    assert told.endswith("run the same command again.")


def test_a_missing_file_and_faults_without_a_number_stay_defects(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (FileNotFoundError(errno.ENOENT, "no such file", "x"), OSError("odd")):
        with pytest.raises(SystemExit) as ended, reported():
            raise error
        assert ended.value.code == 1 and "Traceback" in capsys.readouterr().err


def test_a_log_on_a_full_disk_ends_the_log_and_not_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with reported("/dev/full"):
        for number in range(3):
            print(number)
    assert capsys.readouterr().out == "0\n1\n2\n"


def test_a_log_takes_names_that_are_no_text(tmp_path: Path) -> None:
    with reported(tmp_path / "job.log"):
        sys.stdout.write("a\udc80b\n".encode("utf-8", "backslashreplace").decode() + "\n")
        sys.stdout._log.write("a\udc80b\n")  # type: ignore[attr-defined]
    assert "a\\udc80b" in (tmp_path / "job.log").read_text()
