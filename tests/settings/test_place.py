from pathlib import Path

import pytest

from mimik.errors import UserError
from mimik.settings.place import check_place


@pytest.mark.parametrize(
    "name", ["My Projects", "it's", '"mimik"', "$HOME & `id`; (x) [y] *", "Müller 人", "50 % off", "a\\b"]
)
def test_usual_names_of_folders_are_fine(tmp_path: Path, name: str) -> None:
    check_place(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("{x}", "braces"),
        ("a}", "braces"),
        ("one:two", "a colon"),
        ("what?", "a question mark"),
        ("two\nlines", "a line break"),
        ("a%20b", "'%' before two digits"),
        ("both '\"", "both kinds of quotes"),
        ("\udcff", "not valid UTF-8"),
    ],
)
def test_what_a_program_of_the_workflow_misreads_is_named(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(UserError, match="Rename the folder or move the project") as failure:
        check_place(tmp_path / name)
    assert told in str(failure.value)
    str(failure.value).encode()  # can be printed
