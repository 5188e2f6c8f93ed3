"""Whether what the papers claim holds: every claim by one rule, on every dataset that has results.

    decisions = decide(params, gather(results))
    decisions[0].verdict, decisions[0].effects[0].interval

A claim is a list of comparisons, each a difference of scores in the direction that the claim calls better, paired by
face and by seed (`mimik.reporting.trainings.contrast`). `RULE` is the rule, in the words in which the ledger prints it.
Claims are data: the groups `claims` and `least_differences` of params.yaml.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mimik.errors import UserError
from mimik.reporting.measures import MEASURES
from mimik.reporting.results import Result
from mimik.reporting.trainings import Difference, Term, contrast
from mimik.settings.params import Params
from mimik.statistics.trainings import Interval, needed

Verdict = Literal["holds", "does not hold", "undecided", "not run"]

RULE = (
    "The effect is the difference of the compared scores in the direction that the claim calls better, the mean over "
    "trainings, paired by test face and by seed, with its 95 % interval over trainings and faces. A comparison holds "
    "if the whole interval is above zero. It does not hold if the whole interval is below the least difference that "
    "counts for this metric (listed below), so both where the order is the other way round and where there is no "
    "difference that counts. Where the claim names a margin, both bounds are this margin. Anything else is undecided, "
    "and so is whatever was trained once: the noise of training is then unknown. A claim of several comparisons holds "
    "if all of them hold, and does not hold if one of them does not. There is no correction for the number of claims: "
    "of forty true differences of zero, about one would be decided by chance."
)

TRUTH = "truth"


@dataclass(frozen=True)
class Effect:
    """One comparison of a claim on one dataset.

    Attributes:
        better, than: what is compared, as printed.
        metric: name in metrics.json; the one that was used where the claim names several.
        value: the effect in the unit of metrics.json, positive in the direction that the claim calls better.
        interval: its 95 % interval; None for one training of a metric without values by face.
        margin: what `value` has to exceed.
        trainings: how many pairs of trainings.
        seeds: the fewest seeds that would decide it if effect and noise stayed as they are; None: not known, or none.
        verdict: by `RULE`.
        missing: why there is no effect; empty where there is one.
    """

    better: str
    than: str
    metric: str
    verdict: Verdict
    value: float | None = None
    interval: Interval | None = None
    margin: float = 0.0
    trainings: int = 0
    seeds: int | None = None
    missing: str = ""


@dataclass(frozen=True)
class Decision:
    """What became of one claim on one dataset, by the papers' own metrics or against the truth.

    Attributes:
        name: `paper/name`.
        place, claim, note: as declared.
        against: `metrics` or `truth`.
        dataset, scale, protocol: of the results.
        effects: one for each comparison.
    """

    name: str
    place: str
    claim: str
    note: str
    against: str
    dataset: str
    scale: str
    protocol: str
    effects: Sequence[Effect] = field(default_factory=tuple)

    @property
    def paper(self) -> str:
        """The paper's entry, such as `hier_seg`."""
        return self.name.partition("/")[0]

    @property
    def verdict(self) -> Verdict:
        """Of all comparisons together."""
        verdicts = [effect.verdict for effect in self.effects]
        if "not run" in verdicts:
            return "not run"
        if "does not hold" in verdicts:
            return "does not hold"
        return "holds" if set(verdicts) == {"holds"} else "undecided"

    @property
    def told(self) -> str:
        """What is behind the verdict: missing results, or the seeds that it would take."""
        if self.verdict == "not run":
            return "; ".join(dict.fromkeys(effect.missing for effect in self.effects if effect.missing))
        undecided = [effect for effect in self.effects if effect.verdict == "undecided"]
        if self.verdict != "undecided" or not undecided:
            return ""
        if any(effect.trainings == 1 for effect in undecided):
            return "one training each; how many it takes is unknown"
        seeds = [effect.seeds for effect in undecided]
        if None in seeds:
            return "more seeds alone would not decide it"
        return f"about {max(number for number in seeds if number is not None)} seeds would decide it"


def decide(params: Params, results: Sequence[Result]) -> list[Decision]:
    """Decide every claim on every dataset, scale and protocol that has results.

    Args:
        params: the groups `claims` and `least_differences`.
        results: gathered (`mimik.reporting.trainings.gather`), of any datasets.

    Returns:
        claims in their order, each for all groups of results, which are in the order of `results`. A claim that is not
        meant for a dataset, or is about the truth where there is none, has no line for it.
    """
    groups: dict[tuple[str, str, str], dict[str, Result]] = {}
    for result in results:
        key = (result.dataset, result.scale, result.protocol)
        groups.setdefault(key, {}).setdefault(result.method, result)
    least = params.get("least_differences", {})
    found = []
    for name, claim in params.get("claims", {}).items():
        for (dataset, scale, protocol), methods in groups.items():
            if dataset not in claim.get("datasets", [dataset]):
                continue
            instead = claim.get("instead", {})
            names = instead["names"] if dataset in instead.get("datasets", ()) else {}
            for against in ("tests", TRUTH):
                tests = claim.get(against, [])
                if not tests or (against == TRUTH and not _has_truth(methods.values())):
                    continue
                effects = [effect(test, methods, names, least, f"{dataset} at scale {scale}") for test in tests]
                words = (name, claim["place"], claim["claim"], claim.get("note", ""))
                kind = TRUTH if against == TRUTH else "metrics"
                found.append(Decision(*words, kind, dataset, scale, protocol, effects))
    return found


def _has_truth(results: Iterable[Result]) -> bool:
    """Whether the true edits of a dataset's test faces are known."""
    return any((found := result.metric("truth_psnr")) is not None and found.value is not None for result in results)


def effect(
    test: Mapping[str, Any],
    methods: Mapping[str, Result],
    names: Mapping[str, str],
    least: Mapping[str, float],
    where: str,
) -> Effect:
    """Decide one comparison.

    Args:
        test: as declared: `better`, `than`, `metric`, ...
        methods: results of one dataset by method.
        names: other names for methods and metrics on this dataset.
        least: the least difference that counts by metric.
        where: what messages call the dataset.
    """

    def named(name: str) -> str:
        return names.get(name, name)

    sides = [[named(name) for name in _listed(test[side])] for side in ("better", "than")]
    better, than = (" over ".join(side) for side in sides)
    metrics = [named(name) for name in _listed(test["metric"])]
    margin = test.get("margin", 0.0)
    absent = [name for name in dict.fromkeys(name for side in sides for name in side) if name not in methods]
    if absent:
        missing = f"no result of {', '.join(absent)} on {where}"
        return Effect(better, than, metrics[0], "not run", margin=margin, missing=missing)
    metric = next((name for name in metrics if _measured(methods[sides[0][0]], name)), metrics[0])
    other = test.get("than_metric", metric)
    direction = test.get("direction", MEASURES[metric].direction if metric in MEASURES else "")
    if not direction:
        raise UserError(f"params.yaml: claims: {better} against {than}: {metric} needs a `direction`, up or down.")
    sign = 1.0 if direction == "up" else -1.0
    times = test.get("times", 1.0)
    terms = [Term(sign * weight, methods[name], metric) for name, weight in zip(sides[0], (1.0, -1.0), strict=False)]
    terms += [
        Term(sign * times * weight, methods[name], other) for name, weight in zip(sides[1], (-1.0, 1.0), strict=False)
    ]
    found = contrast(terms)
    if other.endswith("_truth"):
        than = "the true edits"
    elif other != metric:
        than = f"{than} ({MEASURES[other].heading if other in MEASURES else other})"
    if times != 1.0:
        than = f"{times:g} times {than}"
    if found is None:
        return Effect(better, than, metric, "not run", margin=margin, missing=_why(terms, where))
    refused_below = test["margin"] if "margin" in test else least.get(metric, 0.0)
    verdict = _verdict(found, margin, refused_below)
    seeds = _seeds(found, margin, refused_below)
    numbers = (found.value, found.interval, margin, found.trainings, seeds)
    return Effect(better, than, metric, verdict, *numbers)


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _measured(result: Result, metric: str) -> bool:
    found = result.metric(metric)
    return found is not None and found.value is not None


def _why(terms: Sequence[Term], where: str) -> str:
    """Why there is no contrast."""
    for term in terms:
        found = term.result.metric(term.metric)
        if found is None:
            return f"{term.metric} of {term.result.method} was not measured on {where}"
        if found.value is None:
            return f"{term.metric} of {term.result.method} on {where}: {found.skipped}"
    compared = ", ".join(dict.fromkeys(term.result.method for term in terms))
    return f"{compared} on {where}: no trainings of the same number on the same test faces"


def _verdict(found: Difference, margin: float, refused_below: float) -> Verdict:
    """By `RULE`."""
    if found.trainings < 2 or found.interval is None:
        return "undecided"
    low, high = found.interval
    if low > margin:
        return "holds"
    return "does not hold" if high < refused_below else "undecided"


def _seeds(found: Difference, margin: float, refused_below: float) -> int | None:
    """The fewest seeds with which the comparison would hold, or not hold, if effect and noise stayed as they are."""
    if found.between is None:
        return None
    options = []
    for bound, above in ((margin, True), (refused_below, False)):
        distance = found.value - bound
        if distance > 0 if above else distance < 0:
            faces = None if found.faces is None else (found.faces[0] - bound, found.faces[1] - bound)
            options.append(needed(distance, found.between, faces))
    known = [number for number in options if number is not None]
    return min(known) if known else None
