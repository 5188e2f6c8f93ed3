"""Which pictures people compare, and in which order each of them does: the design of docs/study.md.

The questions are those of Table 2 of relative_au (docs/papers/relative_au.md#published-results). All draws come from
one seed, and none depends on a method: every edit that is drawn is shown as each method made it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from mimik.errors import UserError
from mimik.reporting.results import Result
from mimik.reporting.shown import choose_rows


@dataclass(frozen=True)
class Question:
    """A question about two pictures.

    Attributes:
        asks: the question as people read it.
        explains: one or two sentences below it.
        choices: the answers, each as the value that is stored, the text of its button and the keys that press it.
            Of a question whose answer is one of the two pictures the values are `left` and `right` here; what is
            stored is the name of the picture.
    """

    asks: str
    explains: str
    choices: Sequence[tuple[str, str, Sequence[str]]]


QUESTIONS: Mapping[str, Question] = MappingProxyType(
    {
        "similarity": Question(
            "How similar are the two facial expressions?",
            "Only the expression counts: not the person, not the quality of the picture. Partly the same means, for "
            "example, the same mouth but other eyebrows.",
            (
                ("0", "Different", ("0",)),
                ("1", "Partly the same, or not sure", ("1",)),
                ("2", "The same", ("2",)),
            ),
        ),
        "realism": Question(
            "Which face looks more real?",
            "Choose the one that looks more like an untouched picture. If you see no difference, choose by your first "
            "impression.",
            (("left", "The left one", ("ArrowLeft", "l")), ("right", "The right one", ("ArrowRight", "r"))),
        ),
        "identity": Question(
            "Do the two pictures show the same person?",
            "Only the person counts: the expression may differ.",
            (("yes", "Yes", ("y",)), ("no", "No", ("n",))),
        ),
    }
)

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Of codes and names of files: none that are mistaken for each other."""


@dataclass(frozen=True, order=True)
class Picture:
    """What a picture shows.

    Attributes:
        row: row of the store: the face that is shown, or was edited.
        expression: position of the class it shows or should show.
        method: which edited it; "" for a face of the dataset, or the true target of an edit.
    """

    row: int
    expression: int
    method: str = ""


@dataclass(frozen=True)
class Pair:
    """Two pictures and the question about them; `row` is the face that was edited, `target` what it was edited to."""

    question: str
    row: int
    target: int
    pictures: tuple[Picture, Picture]


Trial = tuple[str, int, int]
"""Name of a pair, picture on the left (0 or 1, position in `Pair.pictures`), showing (2 if it is shown again)."""


@dataclass(frozen=True)
class Design:
    """Everything that is shown.

    Attributes:
        truth: whether the pictures with the target expression are true targets, not faces of other people.
        pairs: by name (p001 ...).
        names: of the pictures, without ending.
        sheets: what each rater, by code, sees in this order.
    """

    truth: bool
    pairs: Mapping[str, Pair]
    names: Mapping[Picture, str]
    sheets: Mapping[str, Sequence[Trial]] = field(repr=False)


def design(results: Sequence[Result], pairs: int, raters: int, repeats: int | None, seed: int) -> Design:
    """Draw the study.

    Args:
        results: at least two methods on the same prepared dataset.
        pairs: most pairs of a question. Every edit is shown by all methods, so of M methods each edit gives M pairs of
            `similarity` and of `identity`, and M (M - 1) / 2 of `realism`.
        raters: people.
        repeats: pairs of every question that each rater sees a second time; None for a tenth of them.
        seed: of all draws.

    Raises:
        UserError: the results do not fit together, or there are too few faces for so many pairs.
    """
    _check(results)
    pairs_of = {"similarity": len(results), "realism": len(results) * (len(results) - 1) // 2, "identity": len(results)}
    counts = {question: pairs // each for question, each in pairs_of.items()}
    if min(counts.values()) < 1:
        raise UserError(f"--pairs {pairs}: expected at least {max(pairs_of.values())} for {len(results)} methods.")
    if raters < 1:
        raise UserError(f"--raters {raters}: expected at least 1.")
    shown = {question: counts[question] * each for question, each in pairs_of.items()}
    longest = min(number // 3 for number in shown.values())
    if repeats is not None and not 0 <= repeats <= longest:
        raise UserError(f"--repeats {repeats}: expected 0 to {longest}, a third of the pairs of a question.")
    edits = _edits(results, max(counts.values()), seed)
    targets = _targets(results[0], edits, seed)
    drawn: list[Pair] = []
    for question, count in counts.items():
        for (row, label, target), wanted in zip(edits[:count], targets[:count], strict=True):
            made = [Picture(row, target, result.method) for result in results]
            source = Picture(row, label)
            together = {
                "similarity": [(wanted, edit) for edit in made],
                "realism": list(combinations(made, 2)),
                "identity": [(source, edit) for edit in made],
            }[question]
            drawn += [Pair(question, row, target, two) for two in together]
    named = np.random.default_rng((seed, 1))
    order = named.permutation(len(drawn)).tolist()
    width = len(str(len(drawn)))
    pairs_by_name = {f"p{number:0{width}}": drawn[place] for number, place in enumerate(order, 1)}
    pictures = sorted({picture for pair in drawn for picture in pair.pictures})
    names = dict(zip(pictures, _words(named, len(pictures), 10), strict=True))
    codes = _words(np.random.default_rng((seed, 2)), raters, 6)
    sheets = {
        code: _sheet(pairs_by_name, repeats, np.random.default_rng((seed, 3, number)))
        for number, code in enumerate(codes)
    }
    return Design(results[0].store.truth is not None, pairs_by_name, names, sheets)


def _check(results: Sequence[Result]) -> None:
    """Raise `UserError` when the pictures of these methods cannot be compared."""
    first = results[0]
    names = [result.method for result in results]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"A study compares at least two different methods; named were {', '.join(names)}.")
    for result in results:
        if (result.source_labels < 0).all():
            raise UserError(
                f"{result.directory}: no translated face has a known expression. The questions are about "
                "expressions, so a study needs methods that are not conditioned on attributes."
            )
        stated = result.record.get("dataset_digest")
        if stated != result.store.digest:
            raise UserError(
                f"{result.directory / 'metrics.json'}: is of another preparation of {result.dataset} than the one now "
                f"in {result.store.directory}. Translate and evaluate {result.method} again."
            )
        if (result.classes, result.size) != (first.classes, first.size):
            raise UserError(
                f"{result.directory}: its translations have other classes or another size than those of "
                f"{first.method}: {len(result.classes)} classes at {result.size} px, and {len(first.classes)} at "
                f"{first.size} px. Compare methods of one scale."
            )


def _edits(results: Sequence[Result], count: int, seed: int) -> list[tuple[int, int, int]]:
    """`count` edits as row, label and target: new faces and people first, every target equally often."""
    first = results[0]
    label_of = dict(zip(first.rows.tolist(), first.source_labels.tolist(), strict=True))
    faces = [row for row in choose_rows(results, len(first.rows), seed) if label_of[row] >= 0]
    classes = len(first.classes)
    most = len(faces) * (classes - 1)
    if count > most:
        raise UserError(
            f"{first.dataset}: {len(faces)} faces with a known expression are translated by all methods, which makes "
            f"{most} edits; these pairs need {count}. Lower --pairs."
        )
    generator = np.random.default_rng((seed, 0))
    used: Counter[int] = Counter()
    seen: set[tuple[int, int]] = set()
    edits = []
    for number in range(count):
        row = faces[number % len(faces)]
        free = [t for t in generator.permutation(classes).tolist() if t != label_of[row] and (row, t) not in seen]
        target = min(free, key=lambda one: used[one])
        used[target] += 1
        seen.add((row, target))
        edits.append((row, label_of[row], target))
    return edits


def _targets(result: Result, edits: Sequence[tuple[int, int, int]], seed: int) -> list[Picture]:
    """For each edit a picture with the target expression: the true target, or else a test face of another person."""
    if result.store.truth is not None:
        return [Picture(row, target) for row, _, target in edits]
    store = result.store
    test, labels = store.rows("test"), store.labels()
    people = store.table["identity"].to_numpy()
    generator = np.random.default_rng((seed, 4))
    found = []
    for row, _, target in edits:
        others = [
            other
            for other in test[labels[test] == target].tolist()
            if other != row and (not people[row] or people[other] != people[row])
        ]
        if not others:
            raise UserError(
                f"{store.directory / 'index.csv'}: no face of the split 'test' shows {result.classes[target]!r} and is "
                f"of another person than {store.table['id'].iloc[row]}, so there is nothing to compare its edit with."
            )
        found.append(Picture(int(generator.choice(others)), target))
    return found


def _words(generator: np.random.Generator, count: int, length: int) -> list[str]:
    """Different words of random letters."""
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(generator.choice(list(_LETTERS), length))] = None
    return list(words)


def _sheet(pairs: Mapping[str, Pair], repeats: int | None, generator: np.random.Generator) -> list[Trial]:
    """The order of one rater: question by question.

    Half of the pairs of a question have their first picture on the left. What is shown again was in the first third
    and returns in the last third, with the sides exchanged.
    """
    sheet: list[Trial] = []
    for question in generator.permutation(list(QUESTIONS)).tolist():
        own = generator.permutation([name for name, pair in pairs.items() if pair.question == question]).tolist()
        sides = _sides(len(own), generator)
        third = len(own) // 3
        again = len(own) // 10 if repeats is None else repeats
        first = [(name, side, 1) for name, side in zip(own, sides, strict=True)]
        returning = [first[place] for place in generator.permutation(third)[:again]]
        back = [(name, 1 - side, 2) for name, side, _ in returning]
        end = [*first[len(own) - third :], *back]
        sheet += [*first[: len(own) - third], *(end[place] for place in generator.permutation(len(end)))]
    return sheet


def _sides(count: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Positions 0 and 1 equally often (one more of either for an odd count), in random order."""
    start = int(generator.integers(2))
    return generator.permutation((np.arange(count) + start) % 2).astype(np.int64)
