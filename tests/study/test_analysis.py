import json
from pathlib import Path

import pytest

from mimik.errors import UserError
from mimik.reporting.results import Result
from mimik.study.analysis import analyse, measured
from mimik.study.answers import Answers, checked
from mimik.study.key import Key
from mimik.study.pages import make
from tests.study.raters import Rule, answers_of, prefers, send


def given(key: Key, *rules: Rule) -> dict[str, Answers]:
    return dict(checked(answers_of(key, code, rule), key, "") for code, rule in zip(key.sheets, rules, strict=False))


def shares(told: dict[str, dict[str, float]]) -> dict[str, float]:
    return {name: round(100 * share["value"], 6) for name, share in told.items()}


def test_raters_of_one_mind(study: tuple[Path, Key]) -> None:
    _, key = study
    record = measured(key, given(key, *[prefers("second")] * 4))
    none = {"similarity_0": 100, "similarity_1": 0, "similarity_2": 0, "more_realistic": 0, "same_person": 0}
    every = {"similarity_0": 0, "similarity_1": 0, "similarity_2": 100, "more_realistic": 100, "same_person": 100}
    assert {name: shares(told) for name, told in record["methods"].items()} == {"first": none, "second": every}
    assert record["methods"]["second"]["same_person"] == {"value": 1.0, "ci": [1.0, 1.0], "n": 24}
    assert record["methods"]["second"]["more_realistic"]["n"] == 48
    (difference,) = record["differences"]
    assert (difference["method"], difference["minus"]) == ("first", "second")
    assert [difference[name]["value"] for name in none] == [1, 0, -1, -1, -1]
    assert record["questions"]["similarity"]["alpha"]["value"] == 1
    # They agree on the picture of every pair, though on one method throughout.
    assert record["questions"]["realism"]["alpha"]["value"] == 1
    assert record["questions"]["realism"]["same_answer"] == {"value": 1.0, "ci": [1.0, 1.0], "n": 12}


def test_raters_who_disagree_have_wide_intervals_and_little_agreement(study: tuple[Path, Key]) -> None:
    _, key = study
    rules = [prefers("first")] * 2 + [prefers("second")] * 2
    record = measured(key, given(key, *rules))
    for told in record["methods"].values():
        assert shares(told) == {
            "similarity_0": 50, "similarity_1": 0, "similarity_2": 50, "more_realistic": 50, "same_person": 50,
        }  # fmt: skip
        low, high = told["more_realistic"]["ci"]
        assert low == 0 and high == 1  # four people: all may be of either mind
    (difference,) = record["differences"]
    assert difference["more_realistic"]["ci"] == [-1, 1]
    # By hand, nominal: of 48 answers half are for either method; of the pairs of answers to one pair 1/3 agree.
    agreement = record["questions"]["realism"]
    assert agreement["same_answer"]["value"] == pytest.approx(1 / 3)
    assert agreement["alpha"]["value"] == pytest.approx(1 - 47 * 32 / (2 * 24 * 24))


def test_a_pair_that_is_shown_again_counts_once_and_tells_attention(study: tuple[Path, Key]) -> None:
    _, key = study

    def forgetful(question: str, methods: list[str], showing: int) -> str:
        # Always the left picture: the sides are exchanged, so the other method is chosen the second time.
        return {"similarity": "2" if showing == 1 else "1", "realism": "left", "identity": "yes"}[question]

    record = measured(key, given(key, forgetful, prefers("first")))
    one, two = record["raters"].values()
    assert one == {"answered": 42, "asked": 42, "repeated": 6, "repeated_same": 2, "left": 14, "left_of": 14}
    assert (two["repeated_same"], two["left_of"]) == (6, 14)
    assert [told["repeated_same"] for told in record["questions"].values()] == [2, 2, 4]
    # 6 pairs of each method, each once: of the first all are "2" twice, of the second once.
    assert record["methods"]["second"]["similarity_2"] == {
        "value": 0.5, "ci": record["methods"]["second"]["similarity_2"]["ci"], "n": 12,
    }  # fmt: skip


def test_answers_that_are_missing_are_left_out(study: tuple[Path, Key]) -> None:
    _, key = study
    answers = given(key, prefers("first"), prefers("first"))
    code = next(iter(answers))
    identity = {name for name, pair in key.pairs.items() if pair["question"] == "identity"}
    answers[code] = {shown: answer for shown, answer in answers[code].items() if shown[0] not in identity}
    record = measured(key, answers)
    assert record["methods"]["first"]["same_person"]["n"] == 6
    assert record["questions"]["identity"]["rated_by_several"] == 0
    assert record["questions"]["identity"]["alpha"]["value"] is None
    assert record["raters"][code]["answered"] == 28


def test_three_methods_are_compared_two_by_two(three: list[Result], tmp_path: Path) -> None:
    key = make(three, tmp_path / "study", pairs=12, raters=2, repeats=0, seed=0)[0]
    strength = {"a": 0, "b": 1, "c": 2}

    def rule(question: str, methods: list[str], _showing: int) -> str:
        if question == "realism":
            return "left" if strength[methods[0]] > strength[methods[1]] else "right"
        return {"similarity": "1", "identity": "yes"}[question]

    record = measured(key, given(key, rule, rule))
    assert [told["more_realistic"]["value"] for told in record["methods"].values()] == [0, 0.5, 1]
    pairs = {(told["method"], told["minus"]): told["more_realistic"]["value"] for told in record["differences"]}
    assert pairs == {("a", "b"): -1, ("a", "c"): -1, ("b", "c"): -1}
    assert record["questions"]["realism"]["alpha"]["value"] == 1


def test_the_files_that_are_written(study: tuple[Path, Key]) -> None:
    folder, key = study
    with pytest.raises(UserError, match="no answers yet"):
        analyse(folder)
    one, two, *_ = key.sheets
    send(folder, answers_of(key, one, prefers("first")))
    text = analyse(folder)
    assert "With one rater the intervals are over faces only" in text
    send(folder, answers_of(key, two, prefers("second")))
    text = analyse(folder)
    assert text == (folder / "analysis" / "analysis.md").read_text(encoding="utf-8")
    assert "2 of 4 raters sent 84 of 84 answers, about 12 faces." in text
    assert "| first | 50.0 (0.0 to 100.0) | 0.0 (0.0 to 0.0) |" in text
    assert "| first − second | 0.0 (−100.0 to 100.0)" in text.replace("+", "")
    assert f"| {one} | 42 of 42 | 100 % (6 of 6) |" in text
    record = json.loads((folder / "analysis" / "analysis.json").read_text())
    assert record["methods"]["first"]["same_person"]["value"] == 0.5
    csv = (folder / "analysis" / "methods.csv").read_text().splitlines()
    assert csv[0].startswith("method,similarity_0,similarity_0_note") and csv[1].startswith("first,0.5,0.0 to 100.0")
    assert {path.name for path in (folder / "analysis").iterdir()} == {
        "analysis.md", "analysis.json", "methods.csv", "differences.csv", "questions.csv", "raters.csv",
    }  # fmt: skip
