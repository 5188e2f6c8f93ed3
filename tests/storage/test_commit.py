import subprocess
from pathlib import Path

from mimik.storage import commit


def test_commit_is_that_of_the_checkout_or_none() -> None:
    here = subprocess.run(
        ["git", "-C", str(Path(commit.__file__).parent), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert commit.git_commit() == (here.stdout.strip() or None)
