import sys
from pathlib import Path

import pytest

from mimik.console import reported
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


def test_the_log_keeps_the_last_state_of_a_progress_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with reported(tmp_path / "job.log"):
        print("start")
        for percent in (0, 50, 100):
            sys.stderr.write(f"\r{percent}%")
        sys.stderr.write("\nend")
    assert (tmp_path / "job.log").read_text() == "start\n100%\nend\n"
    assert capsys.readouterr().err == "\r0%\r50%\r100%\nend"


def test_the_streams_come_back(tmp_path: Path) -> None:
    before = sys.stdout, sys.stderr
    with reported(tmp_path / "job.log"):
        assert sys.stdout is not before[0]
        assert sys.stderr.isatty() == before[1].isatty()
    assert (sys.stdout, sys.stderr) == before
