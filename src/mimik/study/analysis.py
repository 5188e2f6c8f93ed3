"""What the raters of a study said: votes of every method with intervals, differences, agreement, attention checks.

Everything is counted from the files in answers/. Where a pair was shown twice, its first answer counts; the second only
tells whether the rater answers the same again. Intervals are over raters and faces (`mimik.statistics.crossed`): with
other people and other faces, the votes would differ by as much.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.reporting.tabular import EMPTY, Cell, Column, Line, Table
from mimik.statistics.agreement import Level, alpha, coincidences, same
from mimik.statistics.bootstrap import percentile_interval, resamples
from mimik.statistics.crossed import ratio, resampled_ratios
from mimik.storage.files import write_json, write_text
from mimik.study.answers import Answers, possible_answers, read_answers
from mimik.study.design import QUESTIONS
from mimik.study.key import Key, read_key
from mimik.study.pages import ANSWERS

Floats = npt.NDArray[np.float64]

ANALYSIS = "analysis"

RESAMPLES = 2000

MEASURES = (
    Column("similarity_0", "Similarity 0", "down", "%", "the expression of the edit differs from the target"),
    Column("similarity_1", "Similarity 1", "", "%", "partly the same, or not sure"),
    Column("similarity_2", "Similarity 2", "up", "%", "the same expression"),
    Column("more_realistic", "More realistic", "up", "%", "preferred over another method's edit"),
    Column("same_person", "Same person", "up", "%", "edit and input show the same person"),
)
"""The columns of Table 2 of relative_au (docs/papers/relative_au.md#published-results)."""

LEVELS: Mapping[str, Level] = {"similarity": "ordinal", "realism": "nominal", "identity": "nominal"}
"""What the answers to a question are for Krippendorff's alpha."""


@dataclass(frozen=True)
class Votes:
    """Votes of one kind: yes or no for every answer.

    Attributes:
        sums, counts: (raters, faces), how many are yes, and how many there are.
    """

    sums: Floats
    counts: Floats


@dataclass(frozen=True)
class Drawn:
    """How often raters (R, raters) and faces (R, faces) are drawn in each resample."""

    raters: Floats
    faces: Floats

    def values(self, votes: Votes) -> Floats:
        """The share of yes in every resample."""
        return resampled_ratios(votes.sums, votes.counts, self.raters, self.faces)


def analyse(folder: Path) -> str:
    """Analyse a study and write analysis/: analysis.md, analysis.json, and each table as CSV.

    Returns:
        The content of analysis.md.

    Raises:
        UserError: see `mimik.study.key.read_key` and `mimik.study.answers.read_answers`.
    """
    key = read_key(folder)
    answers = read_answers(folder / ANSWERS, key)
    record = measured(key, answers)
    tables = {
        "methods": ("People's votes", _methods(key, record)),
        "differences": ("Differences between methods", _differences(record)),
        "questions": ("Agreement of the raters", _questions(record)),
        "raters": ("Raters", _raters(record)),
    }
    parts = [f"# Study {key.study}: {', '.join(key.methods)} on {key.record['dataset']}", _introduction(key, record)]
    for name, (title, table) in tables.items():
        write_text(folder / ANALYSIS / f"{name}.csv", table.to_csv())
        parts += [f"## {title}", table.to_markdown().rstrip()]
    text = "\n\n".join(parts) + "\n"
    write_text(folder / ANALYSIS / "analysis.md", text)
    write_json(folder / ANALYSIS / "analysis.json", record)
    return text


def measured(key: Key, answers: Mapping[str, Answers]) -> dict[str, Any]:
    """Every number of the analysis, as analysis.json has it.

    Args:
        key: of the study.
        answers: of each rater, as `mimik.study.answers.read_answers` gives them.
    """
    faces = sorted({pair["face"] for pair in key.pairs.values()})
    seed = int(key.record["seed"])
    drawn = Drawn(resamples(len(answers), RESAMPLES, seed), resamples(len(faces), RESAMPLES, seed + 1))

    def share(votes: Votes) -> dict[str, Any]:
        return _share(ratio(votes.sums, votes.counts), drawn.values(votes), int(votes.counts.sum()))

    def differ(one: Votes, other: Votes) -> dict[str, Any]:
        value = ratio(one.sums, one.counts) - ratio(other.sums, other.counts)
        return _share(value, drawn.values(one) - drawn.values(other), int(min(one.counts.sum(), other.counts.sum())))

    votes = {method: _votes(key, answers, faces, method) for method in key.methods}
    differences = []
    for one, other in combinations(key.methods, 2):
        of_one, of_other = _votes(key, answers, faces, one, other), _votes(key, answers, faces, other, one)
        told = {name: differ(of_one[name], of_other[name]) for name in of_one}
        differences.append({"method": one, "minus": other, **told})
    return {
        "study": key.study,
        "dataset": key.record["dataset"],
        "truth": key.record["truth"],
        "methods": {method: {name: share(of) for name, of in told.items()} for method, told in votes.items()},
        "differences": differences,
        "questions": {question: _agreement(key, answers, question, faces, drawn.faces) for question in QUESTIONS},
        "raters": {rater: _rater(key, rater, given) for rater, given in answers.items()},
        "invited": len(key.sheets),
        "faces": len(faces),
        "resamples": RESAMPLES,
        "seed": seed,
    }


def _votes(
    key: Key, answers: Mapping[str, Answers], faces: Sequence[str], method: str, against: str | None = None
) -> dict[str, Votes]:
    """Votes on a method by the names of `MEASURES`; of realism only those `against` one method, where it is given."""
    column = {face: place for place, face in enumerate(faces)}
    yes = {measure.key: np.zeros((len(answers), len(faces))) for measure in MEASURES}
    counts = {measure.key: np.zeros((len(answers), len(faces))) for measure in MEASURES}
    for row, given in enumerate(answers.values()):
        for (name, showing), answer in given.items():
            pair, shown = key.pairs[name], key.edited_by(name)
            if showing == 1 and method in shown and (against in shown or pair["question"] != "realism" or not against):
                for measure, vote in _vote(key, pair["question"], answer, method).items():
                    yes[measure][row, column[pair["face"]]] += vote
                    counts[measure][row, column[pair["face"]]] += 1
    return {name: Votes(yes[name], counts[name]) for name in yes}


def _vote(key: Key, question: str, answer: str, method: str) -> dict[str, bool]:
    """What an answer says of a method, by the names of `MEASURES`."""
    if question == "similarity":
        return {f"similarity_{value}": answer == value for value in ("0", "1", "2")}
    if question == "realism":
        return {"more_realistic": key.method_of(answer) == method}
    return {"same_person": answer == "yes"}


def _agreement(
    key: Key, answers: Mapping[str, Answers], question: str, faces: Sequence[str], drawn: Floats
) -> dict[str, Any]:
    """Agreement of raters on the pairs of a question, and of each with itself on those shown twice."""
    pairs = [name for name, pair in key.pairs.items() if pair["question"] == question]
    # The pictures of a pair are in random order: agreement on one method throughout is agreement, not a constant.
    possible = {name: possible_answers(key, name) for name in pairs}
    values = np.array(
        [
            [possible[name].index(given[name, 1]) if (name, 1) in given else np.nan for name in pairs]
            for given in answers.values()
        ]
    )
    categories = len(possible[pairs[0]])
    units = coincidences(values, categories)
    place = {face: number for number, face in enumerate(faces)}
    by_face = np.zeros((len(faces), categories, categories))
    np.add.at(by_face, [place[key.pairs[name]["face"]] for name in pairs], units)
    level = LEVELS[question]
    resampled = np.einsum("rf,fij->rij", drawn, by_face)
    again = [_again(given, pairs) for given in answers.values()]
    rated = int((units.sum((1, 2)) > 0).sum())
    total = by_face.sum(0)
    return {
        "level": level,
        "pairs": len(pairs),
        "rated_by_several": rated,
        "alpha": _share(float(alpha(total, level)), alpha(resampled, level), rated),
        "same_answer": _share(float(same(total)), same(resampled), rated),
        "repeated": sum(number for _, number in again),
        "repeated_same": sum(number for number, _ in again),
    }


def _again(given: Answers, pairs: Sequence[str]) -> tuple[int, int]:
    """How many answers were the same when a pair came back, and how many pairs were answered twice."""
    twice = [name for name in pairs if (name, 1) in given and (name, 2) in given]
    return sum(given[name, 1] == given[name, 2] for name in twice), len(twice)


def _rater(key: Key, rater: str, given: Answers) -> dict[str, Any]:
    """How attentively one person answered."""
    repeated_same, repeated = _again(given, list(key.pairs))
    chosen = [
        given[pair, showing] == left
        for pair, left, showing in key.sheets[rater]
        if (pair, showing) in given and key.pairs[pair]["question"] == "realism"
    ]
    return {
        "answered": len(given),
        "asked": len(key.sheets[rater]),
        "repeated": repeated,
        "repeated_same": repeated_same,
        "left": sum(chosen),
        "left_of": len(chosen),
    }


def _share(value: float, resampled: npt.ArrayLike, number: int) -> dict[str, Any]:
    """A value with its interval; null where there is none."""
    if not math.isfinite(value):
        return {"value": None, "ci": None, "n": number}
    return {"value": value, "ci": percentile_interval(np.asarray(resampled)), "n": number}


def _introduction(key: Key, record: Mapping[str, Any]) -> str:
    answered = sum(rater["answered"] for rater in record["raters"].values())
    asked = sum(rater["asked"] for rater in record["raters"].values())
    targets = (
        "the true picture of the same face with the target expression"
        if key.record["truth"]
        else "a face of another person with the target expression"
    )
    told = [
        f"{len(record['raters'])} of {record['invited']} raters sent {answered:,} of {asked:,} answers, about "
        f"{record['faces']} faces.",
        f"Similarity compares the edit with {targets}.",
        f"In brackets: 95 % intervals from {record['resamples']:,} resamples of raters and of faces.",
    ]
    if len(record["raters"]) == 1:
        told.append("With one rater the intervals are over faces only: they say nothing about other people.")
    return " ".join(told)


def _methods(key: Key, record: Mapping[str, Any]) -> Table:
    lines = [
        Line(method, [_percent(told[measure.key]) for measure in MEASURES])
        for method, told in record["methods"].items()
    ]
    notes = []
    if len(key.methods) > 2:
        notes.append("More realistic: share of the votes in comparisons with all other methods; 50 is as good as they.")
    return Table("method", MEASURES, lines, notes)


def _differences(record: Mapping[str, Any]) -> Table:
    lines = []
    for told in record["differences"]:
        cells = [_percent(told[measure.key], signed=True) for measure in MEASURES]
        lines.append(Line(f"{told['method']} − {told['minus']}", cells))
    columns = [Column(m.key, m.heading, m.direction, "points", m.explanation) for m in MEASURES]
    notes = [
        "An interval that contains 0 leaves open which of the two is better. One training of each is compared: trained "
        "again, the same methods can differ by more."
    ]
    return Table("difference", columns, lines, notes)


def _questions(record: Mapping[str, Any]) -> Table:
    columns = [
        Column("pairs", "Pairs rated by several"),
        Column("same_answer", "Two raters agree", unit="%"),
        Column("alpha", "Krippendorff's alpha"),
        Column("repeated", "Same answer when shown again"),
    ]
    lines = [
        Line(
            question,
            [
                Cell(f"{told['rated_by_several']} of {told['pairs']}", number=told["rated_by_several"]),
                _percent(told["same_answer"]),
                _number(told["alpha"], told["level"]),
                _of(told["repeated_same"], told["repeated"]),
            ],
        )
        for question, told in record["questions"].items()
    ]
    return Table("question", columns, lines, ["Alpha is 1 for full agreement and 0 for what chance gives."])


def _raters(record: Mapping[str, Any]) -> Table:
    columns = [
        Column("answered", "Answered"),
        Column("repeated", "Same answer when shown again"),
        Column("left", "Left picture chosen as more real"),
    ]
    lines = [
        Line(
            rater,
            [
                Cell(f"{told['answered']} of {told['asked']}", number=told["answered"]),
                _of(told["repeated_same"], told["repeated"]),
                _of(told["left"], told["left_of"]),
            ],
        )
        for rater, told in record["raters"].items()
    ]
    return Table("rater", columns, lines, ["Nobody is left out: to leave a rater out, move the file and say so."])


def _percent(told: Mapping[str, Any], *, signed: bool = False) -> Cell:
    if told["value"] is None:
        return EMPTY

    def text(share: float) -> str:
        percent = round(100 * share, 1) + 0.0  # no minus before a zero
        return (f"{percent:+.1f}" if signed else f"{percent:.1f}").replace("-", "−")

    return Cell(text(told["value"]), _interval(told["ci"], text), told["value"])


def _number(told: Mapping[str, Any], level: str) -> Cell:
    if told["value"] is None:
        return EMPTY

    def text(value: float) -> str:
        return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")

    return Cell(text(told["value"]), f"{_interval(told['ci'], text)}, {level}", told["value"])


def _interval(ends: Sequence[float] | None, text: Callable[[float], str]) -> str:
    return "" if ends is None else f"{text(ends[0])} to {text(ends[1])}"


def _of(number: int, total: int) -> Cell:
    """A share with its two numbers."""
    return Cell(f"{100 * number / total:.0f} %", f"{number} of {total}", number / total) if total else EMPTY
