from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mimik.errors import UserError
from mimik.study.answers import read_answers
from mimik.study.key import Key
from tests.study.raters import answers_of, prefers, send

Change = Callable[[dict[str, Any], Key], object]


def first(content: dict[str, Any], key: Key, question: str) -> dict[str, Any]:
    found: dict[str, Any] = next(a for a in content["answers"] if key.pairs[a["pair"]]["question"] == question)
    return found


def test_files_are_read_under_any_name_and_may_be_incomplete(study: tuple[Path, Key]) -> None:
    folder, key = study
    one, two, *_ = key.sheets
    send(folder, answers_of(key, two, prefers("first")), "downloaded (1)")
    short = answers_of(key, one, prefers("first"))
    del short["answers"][10:]
    send(folder, short)
    read = read_answers(folder / "answers", key)
    assert list(read) == [one, two]
    assert [len(given) for given in read.values()] == [10, 42]


def twice(content: dict[str, Any], _key: Key) -> None:
    content["answers"].append(content["answers"][0])


def unsure(content: dict[str, Any], key: Key) -> None:
    first(content, key, "identity").update(answer="maybe")


CHANGES: list[tuple[str, Change]] = [
    ("belongs to the study", lambda content, key: content.update(study="0" * 16)),
    ("the rater 'nobody' is not in this study", lambda content, key: content.update(rater="nobody")),
    ("there is no pair 'p99' in this study", lambda content, key: content["answers"][4].update(pair="p99")),
    ("answer 43: the rater .* answers showing 1 of the pair", twice),
    ("was not shown 2 times", lambda content, key: content["answers"][0].update(showing=2)),
    ("expected one of 0, 1, 2; it is '3'", lambda content, key: first(content, key, "similarity").update(answer="3")),
    ("expected one of yes, no; it is 'maybe'", unsure),
    ("expected one of", lambda content, key: first(content, key, "realism").update(answer="left")),
    ("'answers' is a required property", lambda content, key: content.pop("answers")),
    ("Additional properties are not allowed", lambda content, key: content.update(name="Ada")),
    ("expected a text; it is 2", lambda content, key: content["answers"][0].update(answer=2)),
]  # fmt: skip


@pytest.mark.parametrize(("told", "change"), CHANGES, ids=[told for told, _ in CHANGES])
def test_a_fault_is_one_message_with_the_file(study: tuple[Path, Key], told: str, change: Change) -> None:
    folder, key = study
    content = answers_of(key, next(iter(key.sheets)), prefers("first"))
    change(content, key)
    path = send(folder, content, "sent")
    with pytest.raises(UserError, match=told) as refused:
        read_answers(folder / "answers", key)
    assert str(refused.value).startswith(str(path))


def test_damaged_missing_and_doubled_files(study: tuple[Path, Key]) -> None:
    folder, key = study
    with pytest.raises(UserError, match="no answers yet"):
        read_answers(folder / "answers", key)
    content = answers_of(key, next(iter(key.sheets)), prefers("first"))
    path = send(folder, content)
    send(folder, content, "copy")
    with pytest.raises(UserError, match="Keep one of them"):
        read_answers(folder / "answers", key)
    path.write_text(path.read_text()[:100])
    (folder / "answers" / "copy.json").unlink()
    with pytest.raises(UserError, match="expected JSON"):
        read_answers(folder / "answers", key)
