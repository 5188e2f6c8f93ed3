import subprocess
from pathlib import Path

import pytest

from mimik.storage import commit


def test_commit_is_that_of_the_checkout_or_none() -> None:
    here = subprocess.run(
        ["git", "-C", str(Path(commit.__file__).parent), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert commit.git_commit() == (here.stdout.strip() or None)


def test_an_installation_inside_of_a_repository_does_not_take_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / ".venv" / "mimik"
    (package / "storage").mkdir(parents=True)
    (package / "storage" / "commit.py").write_text("")
    (tmp_path / ".gitignore").write_text(".venv\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "theirs"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(commit, "__file__", str(package / "storage" / "commit.py"))
    assert commit.git_commit() is None
    subprocess.run([*git, "add", "--force", "."], check=True)
    assert commit.git_commit() is not None
