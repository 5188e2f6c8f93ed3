"""Updates as CUDA graphs: recorded once, then replayed by a single launch.

A step of a small network consists of a thousand kernels, each of which takes a CPU longer to launch than a fast GPU to
compute. A graph contains all kernels of an update, from its losses to the step of its optimiser. The results are
identical to the bit: random numbers come from the generator's seed at the time of the replay.

A recording is valid for other data of the same shapes, and for every step at which the losses take the same branches.
The comparisons that they make with the step are recorded while they run (`WatchedStep`); a step with a different result
of a comparison gets a separate recording. A loss must therefore branch only on the step, never on values on the device,
and must not draw random numbers on the host. Tasks whose losses cannot comply set `capturable = False`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mimik.training.batches import Batch

WARM_UPS = 3
"""Number of runs of an update before it is recorded: they try cuDNN's algorithms, compile networks and create the
optimiser's state."""

Question = tuple[str, int, int]
"""Comparison, its other side, and the modulus before it (0: none)."""

Computed = list[dict[str, Tensor]]
"""Terms by name, for each part of the batch."""


class WatchedStep:
    """A step number that can be compared, also as a remainder, and remembers these comparisons."""

    def __init__(self, step: int, answers: dict[Question, bool], modulus: int = 0) -> None:
        self._step, self._answers, self._modulus = step, answers, modulus

    def _asked(self, comparison: str, other: object) -> bool:
        if type(other) is not int:
            raise TypeError(f"a loss may compare the step only with whole numbers, not with {other!r}")
        question = (comparison, other, self._modulus)
        self._answers[question] = answered(question, self._step)
        return self._answers[question]

    def __mod__(self, modulus: int) -> "WatchedStep":
        if self._modulus:
            raise TypeError("a remainder of a remainder of the step is not supported")
        return WatchedStep(self._step, self._answers, modulus)

    def __lt__(self, other: int) -> bool:
        return self._asked("<", other)

    def __ge__(self, other: int) -> bool:
        return not self._asked("<", other)

    def __gt__(self, other: int) -> bool:
        return not self._asked("<=", other)

    def __le__(self, other: int) -> bool:
        return self._asked("<=", other)

    def __eq__(self, other: object) -> bool:
        return self._asked("==", other)

    def __ne__(self, other: object) -> bool:
        return not self._asked("==", other)

    def __bool__(self) -> bool:
        return not self._asked("==", 0)

    __hash__ = None  # type: ignore[assignment]


def answered(question: Question, step: int) -> bool:
    """The result of a comparison at a step."""
    comparison, other, modulus = question
    value = step % modulus if modulus else step
    return {"<": value < other, "<=": value <= other, "==": value == other}[comparison]


@dataclass
class _Recording:
    """One path through an update.

    Attributes:
        answers: the comparisons with the step and their results.
        signature: names, shapes and types of the batch's entries.
        runs: number of runs so far without a graph.
        graph, given, left, terms: the graph, the tensors from which it reads the batch, those with the entries that the
            update adds to the batch, and those of its terms.
    """

    answers: dict[Question, bool]
    signature: tuple[Any, ...]
    runs: int = 0
    graph: torch.cuda.CUDAGraph | None = None
    given: Batch | None = None
    left: Batch | None = None
    terms: Computed | None = None


class Replays:
    """The recordings of a run."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        """Record and replay on `stream`, which is also the current stream of everything else in the run."""
        self._stream = stream
        self._pool = torch.cuda.graph_pool_handle()
        self._known: dict[str, list[_Recording]] = {}

    def run(
        self, name: str, step: int, batch: Batch, prepare: Callable[[], None], compute: Callable[[Batch, Any], Computed]
    ) -> Computed:
        """Compute an update, by a graph once it is warmed up.

        Args:
            name: name of the update.
            step: number of the step.
            batch: receives the entries that the update adds.
            prepare: called before `compute`, but not before a replay.
            compute: the update: takes a batch and a step to compare, changes parameters and optimiser and returns the
                terms.

        Returns:
            the terms; to be used before the next call, which may overwrite them.
        """
        signature = tuple((key, value.shape, value.dtype) for key, value in sorted(batch.items()))
        recordings = self._known.setdefault(name, [])
        fitting = (
            recording
            for recording in recordings
            if recording.signature == signature
            and all(answered(question, step) == answer for question, answer in recording.answers.items())
        )
        recording = next(fitting, None)
        if recording is None or (recording.graph is None and recording.runs < WARM_UPS):
            answers: dict[Question, bool] = {}
            prepare()
            terms = compute(batch, WatchedStep(step, answers))
            if recording is None:
                recording = _Recording(answers, signature)
                recordings.append(recording)
            recording.runs += 1
            return terms
        if recording.graph is None:
            prepare()
            self._record(recording, step, batch, compute)
        assert recording.graph and recording.given is not None and recording.left is not None
        assert recording.terms is not None
        torch._foreach_copy_(list(recording.given.values()), [batch[key] for key in recording.given])
        recording.graph.replay()
        # Copies: the next replay of another recording may use the memory.
        batch.update({key: value.clone() for key, value in recording.left.items()})
        return recording.terms

    def _record(
        self, recording: _Recording, step: int, batch: Batch, compute: Callable[[Batch, Any], Computed]
    ) -> None:
        given = {key: value.clone() for key, value in batch.items()}
        seen = dict(given)
        graph = torch.cuda.CUDAGraph()
        # Batches are made by another thread meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            terms = compute(seen, WatchedStep(step, {}))
        recording.left = {key: value.detach() for key, value in seen.items() if value is not given.get(key)}
        recording.graph, recording.given, recording.terms = graph, given, terms
