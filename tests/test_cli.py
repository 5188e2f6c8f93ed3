import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mimik import cli

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Every verb with its parser, those of `data` as "data check" and so on."""
    found = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                inner = verbs(below)
                found |= {f"{name} {key}": value for key, value in inner.items()} if inner else {name: below}
    return found


@pytest.mark.parametrize(("verb", "parser"), sorted(verbs(cli.parser()).items()))
def test_the_examples_in_the_help_are_commands_that_exist(verb: str, parser: argparse.ArgumentParser) -> None:
    lines = [line.strip() for line in (parser.epilog or "").splitlines()[1:]]
    assert lines
    for line in lines:
        words = line.split(" -m mimik.cli ")[-1].removeprefix("mimik ").split()
        chosen = cli.parser().parse_args(words)
        assert " ".join(words).startswith(verb)
        assert callable(chosen.action)


def test_settings_are_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["params", "synthetic", "hier_seg", "--scale", "smoke"])
    settings = json.loads(capsys.readouterr().out)
    assert (settings["method"], settings["scale"]) == ("hier_seg", "smoke")
    cli.main(["params", "synthetic"])
    assert json.loads(capsys.readouterr().out)["options"]["sizes"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["params", "synthetic", "stragan"], "'stragan' is not in params.yaml under 'methods'"),
        (["params", "synthetic", "--scale", "huge"], "'huge' is not under 'scales'"),
        (["pretrain", "synthetic", "segmenter", "segnet"], "'segnet' is not in params.yaml under 'segmenters'"),
    ],
)
def test_a_fault_is_one_message_and_status_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("\nmimik: ")
    assert told in message


def test_a_missing_archive_is_told_with_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("params.yaml", "params", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(["data", "check", "affectnet"])
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert "access" in captured.out
    assert "licence" in captured.out
    assert "usable" not in captured.out
    assert "data/raw/affectnet" in captured.err


def test_the_help_is_there_at_once_and_names_every_verb() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mimik.cli", "--help"], capture_output=True, text=True, check=True
    )
    for verb in ("data", "pretrain", "train", "translate", "evaluate", "report", "compare", "params"):
        assert verb in done.stdout
    assert "torch" not in done.stderr
    assert "mlflow" not in done.stderr


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose archive of `folder` is a link, with two photographs in it, and a prepared dataset."""
    import yaml

    from mimik.settings.reading import read
    from tests.tiny import make_described_store

    project, photographs = tmp_path / "project", tmp_path / "photographs"
    for folder in (project / "data" / "raw", project / "data" / "prepared", photographs / "happiness"):
        folder.mkdir(parents=True)
    (project / "data" / "raw" / "folder").symlink_to(photographs, target_is_directory=True)
    (project / "workflow").symlink_to(ROOT / "workflow")
    values = read(ROOT / "params.yaml")[0]
    values["datasets"]["folder"]["path"] = str(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    (project / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    store = make_described_store(tmp_path / "made")[0]
    store.directory.rename(project / "data" / "prepared" / "folder")
    monkeypatch.chdir(project)
    return project


INPUTS = ("data/raw/new", "data/raw/folder/new", "../photographs/new", "data/raw/../raw/folder", "data/prepared/new",
          "data/prepared/folder")  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "place"),
    [
        *((verb, place) for verb in ("export", "describe", "edit") for place in INPUTS),
        # The option `path` of an entry; editing reads no params.yaml.
        *((verb, "../elsewhere/new") for verb in ("export", "describe", "study")),
    ],
)
def test_nothing_is_written_among_what_is_read(
    project: Path, verb: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(project.parent.rglob("*"))
    commands = {
        "export": ["data", "export", "folder", "--layout", "folders", place],
        "describe": ["data", "describe", "folder", "--output", place],
        "study": ["study", "make", "folder", "stargan", "hier_seg", "-o", place],
        "edit": ["edit", "me.jpg", "--to", "anger", "--model", "results/a/b", "-o", f"{place}/out.png"],
    }
    with pytest.raises(SystemExit):
        cli.main(commands[verb])
    assert "which mimik reads" in capsys.readouterr().err
    assert sorted(project.parent.rglob("*")) == before


def test_sheets_go_over_no_file_of_somebody_else(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = project / "album"
    own.mkdir()
    (own / "rejected.png").write_text("mine")
    with pytest.raises(SystemExit):
        cli.main(["data", "describe", "folder", "--output", "album"])
    assert "rejected.png: already exists" in capsys.readouterr().err
    assert (own / "rejected.png").read_text() == "mine" and len(list(own.iterdir())) == 1
