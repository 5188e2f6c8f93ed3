"""`make gpu-check` without a GPU: its sentence, its plan, what it does about failures, a part of it at tiny sizes."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))  # where the scripts find each other

from gpu_parts import cases, report, steps, suite, trainings  # noqa: E402
from gpu_parts.job import Job, follow  # noqa: E402

pytestmark = pytest.mark.slow


def job(folder: Path, part: str = "b", seconds: float = 60, **more: Any) -> Job:
    given = {"device": "cpu", "tiny": True, "train_seconds": 1.0, "profile": False} | more
    return Job(part, deadline=time.time() + seconds, output=str(folder), work=str(folder), **given)


def check(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def python(job: Job, code: str) -> "subprocess.Popen[bytes]":
    """A process that stands for that of a part."""
    with job.log.open("wb") as log:
        command = [sys.executable, "-c", code, str(job.result)]
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_one_sentence_is_all(tmp_path: Path) -> None:
    done = check("--output", str(tmp_path / "out"))
    assert done.returncode == 0
    assert done.stdout == "gpu-check: there is no CUDA device that torch can use here, so nothing was measured.\n"
    assert done.stderr == ""
    assert not (tmp_path / "out").exists()


def test_a_part_is_measured_and_another_one_kept(tmp_path: Path) -> None:
    done = check("--device", "cpu", "--tiny", "--only", "c", "--output", str(tmp_path), "--commit", "abc")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert record["machine"]["commit"] == "abc"
    (row,) = record["parts"]["c"]["rows"]
    assert row["constant_ms"] > 0
    assert row["share_percent"] == pytest.approx(sum(row["range_percent"]) / 2)  # of two rounds
    assert "(c)  input pipeline  done" in done.stdout
    assert record["parts"].keys() == {"c"}
    same, other = record["machine"] | {"date": "later"}, record["machine"] | {"commit": "another"}
    assert report.earlier(tmp_path, same, ["a"]) == record["parts"]
    assert report.earlier(tmp_path, same, ["c"]) == {}
    assert report.earlier(tmp_path, other, ["a"]) == {}


def test_a_process_that_fails_or_hangs_is_told_with_its_last_lines(tmp_path: Path) -> None:
    failing = job(tmp_path, "failing")
    fault = follow(
        python(failing, "print('begun', flush=True); raise SystemExit('no luck')"), failing, lambda: 2e10, print
    )
    assert fault == "ended with status 1\nbegun\nno luck"
    hanging = job(tmp_path, "hanging")
    found: list[dict[str, Any]] = []
    code = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text('{\"x\": 1}'); time.sleep(600)"
    process = python(hanging, code)
    begun = time.time()
    fault = follow(process, hanging, lambda: begun + 3, found.append)
    assert fault is not None
    assert fault.startswith("ended because its time was up")
    assert found == [{"x": 1}]  # what it had found before is kept
    assert process.poll() is not None


def test_a_case_that_breaks_its_worker_does_not_take_the_next_ones_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [[list(cases.Case("stargan", 64, 2)), variant, False] for variant in ("plain", "eager", "graphs")]
    worker = job(tmp_path, "b-0-0", items=items)
    written = json.dumps({"rates": {}, "found": {"0": {"ms": 7.0}}})
    code = f"import pathlib, sys; pathlib.Path(sys.argv[1]).write_text({written!r}); sys.exit('broken')"
    monkeypatch.setattr(steps, "start", lambda job: python(job, code))
    rows = steps.Rows(job(tmp_path))
    left = steps._work(worker, "engine", rows)
    variants = rows.rows["stargan 64/2"]["variants"]
    assert variants["plain"] == {"ms": 7.0}
    assert variants["eager"] == {"failure": "ended with status 1\nbroken"}
    assert left == [(cases.Case("stargan", 64, 2), "graphs", False)]
    assert json.loads(job(tmp_path).result.read_text())["rows"][0]["variants"] == variants


def test_cases_are_compiled_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = json.dumps({"found": {"0": {"start_s": 5.0}}})
    code = f"import pathlib, sys, time; time.sleep(2); pathlib.Path(sys.argv[1]).write_text({written!r})"
    monkeypatch.setattr(steps, "start", lambda job: python(job, code))
    rows = steps.Rows(job(tmp_path))
    workers = [
        job(tmp_path, f"b-1-{number}", items=[[list(case), "prime auto", False]])
        for number, case in enumerate(steps.MAIN)
    ]
    begun = time.time()
    steps._prime(workers, rows)
    assert time.time() - begun < 2 * len(workers)
    assert [row["variants"] for row in rows.rows.values()] == [{"prime auto": {"start_s": 5.0}}] * 3


def test_the_main_cases_come_first_and_workers_do_one_kind_of_thing() -> None:
    systems = ["stargan", "attgan", "hier_seg", "hier_rect"]
    for compiles in (True, False):
        workers = steps.plan(systems, tiny=False, profile=False, compiles=compiles)
        for kind, items in workers:
            assert {steps.kind_of(variant, compiles) for _, variant, _ in items} == {kind}
            assert kind != "compiled" or len(items) == 1
        everything = [item for _, items in workers for item in items]
        methods = [case.method for case, _, _ in everything]
        assert {case for case, _, _ in everything[: methods.index("attgan")]} == set(steps.MAIN)
        counted = [case for case, _, count in everything if count]
        assert len(counted) == len(set(counted)) == 5
        assert (cases.Case("hier_rect", 256, 8), "plain", False) in everything
        variants = [variant for case, variant, _ in everything if case == steps.MAIN[0]]
        slow, same = ("auto", {"compiled"}) if compiles else ("compiled", set())
        timed = {variant for variant in variants if not variant.startswith("prime ")}
        assert timed == {"plain", "plain strict", "auto", "eager", "graphs", "compiled"} - same
        assert variants[:3] == ["plain", f"prime {slow}", slow]  # compiled before it is timed


def test_floors_are_the_larger_of_two_times() -> None:
    measured = {"bf16_flop_per_s": 4e12, "copied_bytes_per_s": 1e12}
    found = cases.floor(2e12, 3e11, measured)
    assert found == {"floor_operations_ms": 500.0, "floor_bytes_ms": 300.0, "floor_ms": 500.0}
    assert cases.floor(None, 3e11, measured) == {}


def test_a_row_of_every_kind_is_written() -> None:
    variants = {"plain": {"ms": 100.0}, "auto": {"ms": 20.0, "allocated_mib": 2048.0, "reserved_mib": 3072.0}}
    variants["auto"]["later_allocated_mib"] = 1024.0
    row = {"method": "stargan", "size": 128, "batch": 16, "flop": 1e12, "floor_ms": 5.0, "floor_operations_ms": 5.0}
    broken = {"method": "attgan", "size": 128, "batch": 16, "variants": {"plain": {"failure": "no\nmemory"}}}
    trained = {"method": "stargan", "steps": 900, "seconds": 55.0, "step_ms": 60.0, "metrics": {"eea": 0.5}}
    record = {
        "machine": {"card": "a card", "torch": "2", "commit": "abc"},
        "settings": {"minutes": 8.0, "tiny": False},
        "parts": {
            "a": {"seconds": 1.0, "counts": {"passed": 3, "failed": 1}, "failed": ["tests/gpu/test_x.py::test_y"]},
            "b": {"seconds": 2.0, "rows": [{**row, "variants": variants}, broken], "notes": ["no time was left for x"]},
            "c": {"waiting": True},
            "d": {"seconds": 3.0, "rows": [trained], "failure": "ended with status 1\nTraceback"},
        },
    }
    text, short = report.markdown(record), report.screen(record)
    assert "| stargan 128/16 | 100 | – | 20 (5.00) | – | – | – | 5 o | 4.00 | 1.000 |" in text
    assert "| stargan 128/16 | – | – | 2048 / 3072 / 1024 |" in text
    assert "- attgan 128/16, plain, failure: no / memory" in text
    assert "- `tests/gpu/test_x.py::test_y`" in text
    assert "- no time was left for x" in text
    assert "Not measured yet." in text
    assert "```\nended with status 1\nTraceback\n```" in text
    assert "stargan 128/16: plain 100 ms, auto 20 ms, 5.00 times, 4.0 floors, 2.00 GiB" in short
    assert "failed  stargan: 55 s, 900 steps; EEA 50.0%" in short


def test_outcomes_of_tests_are_read_from_their_lines() -> None:
    line = "tests/gpu/test_x.py::test_y[a b] FAILED                [ 50%]"
    found = suite._OUTCOME.match(line)
    assert found is not None
    assert (found[1], found[2]) == ("tests/gpu/test_x.py::test_y[a b]", "FAILED")
    found = suite._OUTCOME.match("[gw1] [ 50%] PASSED tests/gpu/test_x.py::test_y[a b]")  # of one of several processes
    assert found is not None
    assert (found[3], found[4]) == ("PASSED", "tests/gpu/test_x.py::test_y[a b]")
    assert suite._OUTCOME.match("FAILED tests/gpu/test_x.py::test_y - assert 1 == 2") is None


def test_trainings_keep_the_demos_options_and_have_published_widths() -> None:
    from mimik.settings import params
    from mimik.settings.configuration import build
    from mimik.training.runs import method_module

    values = trainings.settings(tiny=False)
    assert params.resolve_dataset(values, "synthetic")["options"]["sizes"] == [128]
    for name in ("stargan", "hier_seg"):
        resolved = params.resolve(values, "synthetic", name)
        module = method_module(resolved["module"])
        config, published = build(module.Config, resolved["config"], name), module.Config()
        assert resolved["image_size"] == 128
        assert config.conv_dim == published.conv_dim
        assert config.residual_blocks == published.residual_blocks
        assert config.adversary.conv_dim == published.adversary.conv_dim
        assert (config.head, config.adversary.objective, config.adversary.per_class) == ("masked", "hinge", True)


def test_a_training_is_timed_without_its_start() -> None:
    clock = trainings.Clock()
    clock.rows = [(20, 30.0), (40, 32.0), (60, 33.0), (80, 34.0), (100, 35.0)]
    assert clock.step_seconds() == pytest.approx(0.05)
    assert clock.start_seconds() == pytest.approx(30.0)
