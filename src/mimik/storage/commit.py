"""The state of the code that a result was made with."""

import subprocess
from pathlib import Path


def git_commit() -> str | None:
    """The commit that mimik runs from; None outside of a git checkout.

    Where it is installed inside of somebody's repository, git does not know its files, and that repository's commit
    says nothing about them.
    """
    return (_git("rev-parse", "HEAD") or None) if _git("ls-files", "storage/commit.py") else None


def changed_since() -> bool:
    """Whether files of mimik differ from that commit."""
    return bool(_git("status", "--porcelain", "."))


def _git(*command: str) -> str:
    """What git says about the folder of mimik; nothing where it cannot."""
    try:
        said = subprocess.run(
            ["git", "-C", str(Path(__file__).parents[1]), *command], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return said.stdout.strip() if said.returncode == 0 else ""
