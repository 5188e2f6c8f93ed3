"""Where a project may be: what the path of its folder may contain for the programs of the workflow to cope with it.

Blanks, quotes, dollars and letters of any alphabet are fine. The few things below make one of these programs fail in
every job, or write to another place than the project without a word.
"""

from pathlib import Path
from urllib.parse import unquote

from mimik.errors import UserError

_REFUSED = (
    ("{}", "braces, which Snakemake reads as the name of a variable"),
    (":", "a colon, which separates the folders of PATH and PYTHONPATH"),
    ("?", "a question mark, at which MLflow ends the name of its database"),
    ("\n\r", "a line break, although lists of files have one path per line"),
)


def check_place(folder: Path) -> None:
    """Raise `UserError` if the workflow cannot run in a folder because of what its path is made of."""
    path = str(folder.resolve())
    held = [reason for characters, reason in _REFUSED if any(character in path for character in characters)]
    if unquote(path) != path:
        held.append("'%' before two digits, which MLflow reads as one character: it writes to the folder of that name")
    if "'" in path and '"' in path:
        held.append("both kinds of quotes, with which MLflow cannot make its database")
    if not path.isprintable() and not held:
        held.append("bytes that are not valid UTF-8, or control characters")
    if held:
        raise UserError(
            f"The path of the project, {path!r}, contains {'; and '.join(held)}. Rename the folder or move the "
            "project, then run the same command again. Spaces, and quotes of one kind, are fine."
        )
