from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mimik.errors import UserError
from mimik.reporting.results import Result
from mimik.study.design import QUESTIONS, Design, Picture, design


def names(drawn: Design, question: str) -> list[str]:
    return [name for name, pair in drawn.pairs.items() if pair.question == question]


def test_every_edit_is_shown_as_each_method_made_it(two: list[Result], three: list[Result]) -> None:
    for results, expected in ((two, (12, 12, 12)), (three, (12, 12, 12))):
        drawn = design(results, 12, 1, None, 0)
        assert tuple(len(names(drawn, question)) for question in QUESTIONS) == expected
        shown: dict[tuple[str, int, int], Counter[str]] = {}
        for pair in drawn.pairs.values():
            made = Counter(picture.method for picture in pair.pictures if picture.method)
            shown.setdefault((pair.question, pair.row, pair.target), Counter()).update(made)
            label = results[0].store.labels()[pair.row]
            assert pair.target != label
            other = [picture for picture in pair.pictures if not picture.method]
            if pair.question == "identity":
                assert other == [Picture(pair.row, label)]
            elif pair.question == "similarity":
                assert [picture.expression for picture in other] == [pair.target]
        assert all(len(set(counts.values())) == 1 and len(counts) == len(results) for counts in shown.values())


def test_the_target_is_the_truth_or_another_person(two: list[Result], three: list[Result]) -> None:
    for results in (two, three):
        drawn = design(results, 12, 1, None, 0)
        people, labels = results[0].store.table["identity"], results[0].store.labels()
        for name in names(drawn, "similarity"):
            pair = drawn.pairs[name]
            (target,) = (picture for picture in pair.pictures if not picture.method)
            if results is two:
                assert target.row == pair.row and drawn.truth
            else:
                assert labels[target.row] == pair.target and people[target.row] != people[pair.row]
                assert not drawn.truth


def test_faces_are_drawn_before_one_comes_twice_and_targets_equally_often(two: list[Result]) -> None:
    drawn = design(two, 12, 1, None, 0)
    edits = [drawn.pairs[name] for name in names(drawn, "realism")]
    assert len({pair.row for pair in edits}) == 12
    assert set(Counter(pair.target for pair in edits).values()) == {4}
    assert len({(pair.row, pair.target) for pair in design(two, 24, 1, None, 0).pairs.values()}) == 24


def test_sheets_hold_everything_in_an_order_and_on_sides_of_their_own(two: list[Result]) -> None:
    drawn = design(two, 24, 3, 4, 0)
    orders = list(drawn.sheets.values())
    for sheet in orders:
        assert sorted(name for name, _, showing in sheet if showing == 1) == sorted(drawn.pairs)
        asked = [drawn.pairs[name].question for name, _, _ in sheet]
        assert [q for place, q in enumerate(asked) if q not in asked[:place]] == list(dict.fromkeys(asked))
        for question in QUESTIONS:
            own = [trial for trial in sheet if drawn.pairs[trial[0]].question == question]
            sides = Counter(side for _, side, showing in own if showing == 1)
            assert sides == {0: 12, 1: 12}
            back = [(place, trial) for place, trial in enumerate(own) if trial[2] == 2]
            assert len(back) == 4
            for place, (name, side, _) in back:
                (first,) = (p for p, trial in enumerate(own) if trial[0] == name and trial[2] == 1)
                assert place - first >= 8 and own[first][1] == 1 - side
    assert len({tuple(sheet) for sheet in orders}) == 3
    assert len({tuple(dict.fromkeys(drawn.pairs[t[0]].question for t in sheet)) for sheet in orders}) > 1


def test_the_seed_decides_everything(two: list[Result]) -> None:
    assert design(two, 12, 2, None, 0) == design(two, 12, 2, None, 0)
    assert design(two, 12, 2, None, 0).names != design(two, 12, 2, None, 1).names


def test_what_cannot_be_compared_is_refused(two: list[Result], three: list[Result]) -> None:
    older = replace(two[1], record={**two[1].record, "dataset_digest": "e" * 64})
    attributes = replace(two[1])
    attributes.__dict__["source_labels"] = np.full(12, -1)
    for results, numbers, told in (
        (two[:1], (12, 1, None), "at least two different methods"),
        ([two[0], two[0]], (12, 1, None), "at least two different methods"),
        (two, (1, 1, None), "--pairs 1: expected at least 2"),
        (two, (12, 0, None), "--raters 0"),
        (two, (12, 1, 5), "--repeats 5: expected 0 to 4"),
        (two, (25, 1, None), "makes 24 edits; these pairs need 25"),
        ([two[0], older], (12, 1, None), "another preparation of rendered"),
        ([two[0], attributes], (12, 1, None), "not conditioned on attributes"),
    ):
        with pytest.raises(UserError, match=told):
            design(results, *numbers, seed=0)
