"""The one rule by which claims are decided, and the ledger that says so."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimik.errors import UserError
from mimik.reporting.measures import MEASURES
from mimik.reporting.papers.claims import Effect, decide, effect
from mimik.reporting.papers.ledger import printed, write_ledger
from mimik.reporting.results import Result
from mimik.settings.params import load
from mimik.statistics.trainings import half_width
from tests.reporting.test_trainings import method, training

ROOT = Path(__file__).parents[3]
LEAST = {"truth_psnr": 0.5, "fid": 0.5}


@pytest.fixture(scope="module")
def methods(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Of three trainings each: `better` by 2 dB, `level` with `plain`, `noisy` between trainings; `once` of one."""
    root = tmp_path_factory.mktemp("world")
    return {
        "plain": method(root, "plain", 0.0, 0.1, 0.2),
        "level": method(root, "level", 0.02, 0.1, 0.2),
        "better": method(root, "better", 2.0, 2.1, 2.2),
        "noisy": method(root, "noisy", -1.0, 1.0, 3.0),
        "once": training(root, "once", 2.0),
    }


def compare(methods: dict[str, Result], better: Any, than: Any, metric: Any = "truth_psnr", **more: Any) -> Effect:
    test = {"better": better, "than": than, "metric": metric, **more}
    return effect(test, methods, {}, LEAST, "rendered")


def test_the_rule(methods: dict[str, Result]) -> None:
    assert compare(methods, "better", "plain").verdict == "holds"
    assert compare(methods, "plain", "better").verdict == "does not hold"
    # Level: surely less than the difference that counts, whichever is called better.
    assert compare(methods, "level", "plain").verdict == compare(methods, "plain", "level").verdict == "does not hold"
    assert compare(methods, "noisy", "plain").verdict == "undecided"
    found = compare(methods, "once", "plain")
    assert found.verdict == "undecided" and found.trainings == 1 and found.seeds is None and found.value is not None


def test_lower_is_better_where_the_metric_says_so(methods: dict[str, Result]) -> None:
    found = compare(methods, "better", "plain", "fid")
    assert found.value == pytest.approx(2.0) and found.verdict == "holds"
    assert compare(methods, "better", "plain", "fid", direction="up").value == pytest.approx(-2.0)


def test_margins_factors_pairs_and_other_metrics(methods: dict[str, Result]) -> None:
    assert compare(methods, "level", "plain", margin=-0.5).verdict == "holds"
    assert compare(methods, "better", "plain", margin=3.0).verdict == "does not hold"
    gain = compare(methods, ["better", "plain"], ["level", "plain"])
    assert gain.value == pytest.approx(compare(methods, "better", "level").value) and gain.verdict == "holds"
    whole = methods["plain"].metric("truth_psnr")
    half = compare(methods, "plain", "plain", times=0.5)
    assert whole is not None and whole.value is not None and half.value == pytest.approx(whole.value / 2)
    assert half.than == "0.5 times plain"
    across = compare(methods, "plain", "plain", than_metric="fid")
    assert across.value == pytest.approx(whole.value - 39.9, abs=1e-5) and across.than == "plain (FID)"
    assert compare(methods, "better", "plain", ["acd", "fid"]).metric == "fid"


def test_what_is_missing_is_said(methods: dict[str, Result]) -> None:
    found = compare(methods, "hier_seg", "plain")
    assert found.verdict == "not run" and found.missing == "no result of hier_seg on rendered"
    assert compare(methods, "better", "plain", "eea").missing == "eea of better was not measured on rendered"
    methods["plain"].record["metrics"]["kid"] = {"skipped": "put the weights there"}
    assert "put the weights there" in compare(methods, "plain", "plain", "kid").missing
    with pytest.raises(UserError, match="direction"):
        compare(methods, "better", "plain", "inception_score")


def test_as_many_seeds_as_would_decide_it(methods: dict[str, Result]) -> None:
    found = compare(methods, "noisy", "plain", "fid")
    assert found.value == pytest.approx(0.9) and found.verdict == "undecided" and found.seeds is not None
    between = float(np.std([-1.0, 0.9, 2.8], ddof=1))
    assert half_width(between, found.seeds) < 0.9 <= half_width(between, found.seeds - 1)


def declared(**claims: Any) -> dict[str, Any]:
    whole = {
        f"paper/{name}": {"place": "Table 1", "claim": f"It is {name}.", **claim} for name, claim in claims.items()
    }
    return {"claims": whole, "least_differences": LEAST}


def test_a_claim_of_several_comparisons(methods: dict[str, Result]) -> None:
    good = {"better": "better", "than": "plain", "metric": "truth_psnr"}
    bad = {"better": "plain", "than": "better", "metric": "truth_psnr"}
    open_ = {"better": "noisy", "than": "plain", "metric": "truth_psnr"}
    absent = {"better": "hier_seg", "than": "plain", "metric": "truth_psnr"}
    claims = declared(
        good={"tests": [good, good]},
        bad={"tests": [good, open_, bad]},
        open={"tests": [good, open_]},
        absent={"tests": [bad, absent]},
        elsewhere={"tests": [good], "datasets": ["affectnet"]},
        replaced={"tests": [absent], "instead": {"datasets": ["rendered"], "names": {"hier_seg": "better"}}},
        truth={"tests": [bad], "truth": [good]},
    )
    found = decide(claims, list(methods.values()))
    assert [(one.name, one.against, one.verdict) for one in found] == [
        ("paper/good", "metrics", "holds"),
        ("paper/bad", "metrics", "does not hold"),
        ("paper/open", "metrics", "undecided"),
        ("paper/absent", "metrics", "not run"),
        ("paper/replaced", "metrics", "holds"),
        ("paper/truth", "metrics", "does not hold"),
        ("paper/truth", "truth", "holds"),
    ]
    assert re.fullmatch(r"about \d+ seeds would decide it|more seeds alone would not decide it", found[2].told)
    assert found[3].told == "no result of hier_seg on rendered at scale demo"


def test_the_ledger_says_the_same_in_three_forms(methods: dict[str, Result], tmp_path: Path) -> None:
    test = {"better": "better", "than": "plain", "metric": "truth_psnr"}
    claims = declared(good={"tests": [test], "note": "A stand-in | of sorts."})
    (decision,) = write_ledger(claims, list(methods.values()), tmp_path)
    (record,) = json.loads((tmp_path / "claims.json").read_text())
    assert record["verdict"] == "holds" and record["effects"][0]["trainings"] == 3
    told = printed(decision.effects[0])
    assert told.startswith("PSNR, whole face: better against plain, +2.0") and " dB (+" in told
    text, page = (tmp_path / "claims.md").read_text(), (tmp_path / "claims.html").read_text()
    assert "1 holds, 0 do not hold, 0 are undecided, 0 not run" in text and told in text and "stand-in \\| of" in text
    assert told in page and 'class="text verdict holds"' in page and "0.50 dB" in page


def test_a_ledger_without_results_says_that_nothing_was_run(tmp_path: Path) -> None:
    assert write_ledger(declared(good={"tests": []}), [], tmp_path) == []
    assert "nothing was run" in (tmp_path / "claims.html").read_text()


def test_the_shipped_claims_can_be_decided() -> None:
    claims = load(ROOT / "params.yaml")["claims"]
    assert len(claims) >= 25
    assert {name.partition("/")[0] for name in claims} == {
        "hier_seg",
        "secgan",
        "relative_au",
        "ef_gan",
        "depth_guided",
    }
    for claim in claims.values():
        for test in (*claim.get("tests", ()), *claim.get("truth", ())):
            metrics = [test["metric"]] if isinstance(test["metric"], str) else test["metric"]
            for metric in metrics:
                assert "direction" in test or MEASURES[metric].direction
