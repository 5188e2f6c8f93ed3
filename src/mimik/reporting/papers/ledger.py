"""The ledger of claims as files, from what `mimik.reporting.papers.claims` decided: report/claims.{html,md,json}."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mimik.reporting.measures import MEASURES, Measure
from mimik.reporting.papers.claims import RULE, Decision, Effect, Verdict, decide
from mimik.reporting.report import PROTOCOLS, SCALES, write_page
from mimik.reporting.results import Result
from mimik.settings.params import Params
from mimik.storage.files import write_json, write_text

NAMES: Mapping[str, str] = {
    "hier_seg": "Bodur et al. 2021, hierarchical GANs (hier_seg)",
    "secgan": "Sun et al., SeCGAN (secgan)",
    "relative_au": "Ling et al. 2020, relative action units (relative_au)",
    "ef_gan": "Wu et al. 2020, Cascade EF-GAN, supplement (ef_gan)",
    "depth_guided": "Bodur et al. 2021, depth guidance (depth_guided)",
}
"""The papers as headings, by the first part of the names of claims and items."""

ORDER: Sequence[Verdict] = ("holds", "does not hold", "undecided", "not run")


class Group(NamedTuple):
    """The results of one dataset, scale and protocol, with the decisions on them."""

    dataset: str
    scale: str
    protocol: str
    seeds: Sequence[int]
    decisions: Sequence[Decision]

    @property
    def summary(self) -> str:
        """The counts of verdicts in a sentence."""
        counts = Counter(decision.verdict for decision in self.decisions)
        told = ", ".join(f"{counts[verdict]} {_plural(verdict, counts[verdict])}" for verdict in ORDER)
        trained = f"{len(self.seeds)} seed{'s' if len(self.seeds) != 1 else ''}"
        return f"{self.dataset}, scale {self.scale}, {trained}: of {len(self.decisions)} lines, {told}."


def write_ledger(params: Params, results: Sequence[Result], folder: Path) -> list[Decision]:
    """Write `claims.html`, `claims.md` and `claims.json` into a folder.

    Args:
        params: with the claims.
        results: gathered; none gives a ledger in which nothing was run.
        folder: report.
    """
    decisions = decide(params, results)
    groups = _groups(decisions, results)
    least = {
        name: f"{_number(value, _measure(name))} {_unit(_measure(name))}".strip()
        for name, value in params.get("least_differences", {}).items()
    }
    papers = list(dict.fromkeys(name.partition("/")[0] for name in params.get("claims", {})))
    write_json(folder / "claims.json", [_record(decision) for decision in decisions])
    write_text(folder / "claims.md", _markdown(groups, papers, least))
    write_page(
        "claims.html.j2",
        folder / "claims.html",
        groups=groups,
        papers={paper: NAMES.get(paper, paper) for paper in papers},
        rule=RULE,
        least={(_measure(name).heading, _group(name)): told for name, told in least.items()},
        printed=printed,
        count=len(params.get("claims", {})),
        scales=SCALES,
        protocols=PROTOCOLS,
    )
    return decisions


def printed(effect: Effect) -> str:
    """A comparison with its effect, as text."""
    measure = _measure(effect.metric)
    told = f"{_heading(effect.metric)}: {effect.better} against {effect.than}"
    if effect.value is None:
        return told
    told += f", {_number(effect.value, measure, signed=True)} {_unit(measure)}".rstrip()
    if effect.interval is not None:
        low, high = (_number(end, measure, signed=True) for end in effect.interval)
        told += f" ({low} to {high})"
    if effect.margin:
        told += f"; more than {_number(effect.margin, measure, signed=True)} needed"
    return told


def _groups(decisions: Sequence[Decision], results: Sequence[Result]) -> list[Group]:
    keys = dict.fromkeys((result.dataset, result.scale, result.protocol) for result in results)
    return [
        Group(
            *key,
            sorted({seed for one in results if (one.dataset, one.scale, one.protocol) == key for seed in one.seeds}),
            [decision for decision in decisions if (decision.dataset, decision.scale, decision.protocol) == key],
        )
        for key in keys
    ]


def _markdown(groups: Sequence[Group], papers: Sequence[str], least: Mapping[str, str]) -> str:
    lines = ["# Do the papers' claims hold?", "", *(f"- {group.summary}" for group in groups), "", RULE, ""]
    if not groups:
        lines += ["There are no results yet: nothing was run.", ""]
    for paper in papers:
        for group in groups:
            found = [decision for decision in group.decisions if decision.paper == paper]
            if not found:
                continue
            lines += [f"## {NAMES.get(paper, paper)}: {group.dataset}, scale {group.scale}", ""]
            lines += ["| claim | place | measured by | verdict | effect (95 % interval) |", "|---|---|---|---|---|"]
            for decision in found:
                effects = "<br>".join(printed(effect) for effect in decision.effects)
                verdict = f"{decision.verdict} ({decision.told})" if decision.told else decision.verdict
                against = "the truth" if decision.against == "truth" else "the paper's metric"
                cells = [f"{decision.claim} {decision.note}".strip(), decision.place, against, verdict, effects]
                lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
            lines.append("")
    lines += ["## The least differences that count", ""]
    lines += [f"- {_heading(name)} (`{name}`): {told}" for name, told in least.items()]
    return "\n".join(lines) + "\n"


def _record(decision: Decision) -> dict[str, Any]:
    return {
        **{key: getattr(decision, key) for key in ("name", "paper", "place", "claim", "note", "against")},
        **{key: getattr(decision, key) for key in ("dataset", "scale", "protocol", "verdict", "told")},
        "effects": [json.loads(json.dumps(vars(effect))) for effect in decision.effects],
    }


def _measure(name: str) -> Measure:
    return MEASURES.get(name, Measure(name, "", ""))


def _group(name: str) -> str:
    return _measure(name).group.lower()


def _heading(name: str) -> str:
    """The heading of a metric, with its group where others have the same."""
    measure = _measure(name)
    alone = sum(other.heading == measure.heading for other in MEASURES.values()) < 2
    return measure.heading if alone else f"{measure.heading} ({measure.group.lower()})"


def _unit(measure: Measure) -> str:
    return "points" if measure.unit == "%" else measure.unit


def _number(value: float, measure: Measure, signed: bool = False) -> str:
    return f"{value * measure.factor:{'+' if signed else ''}.{measure.digits}f}".replace("-", "−")


def _plural(verdict: str, count: int) -> str:
    words = {"holds": ("holds", "hold"), "does not hold": ("does not hold", "do not hold")}
    one, several = words.get(verdict, (verdict, verdict))
    if verdict in words:
        return one if count == 1 else several
    return f"{'is' if count == 1 else 'are'} undecided" if verdict == "undecided" else "not run"
