"""DVC with a remote of S3's kind: a server on this machine, and what may not be passed on is never in its bucket."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.services.servers import Server, answers, free_port, needs
from tests.workflow.conftest import Project
from tests.workflow.test_dvc import RATE, trained_with

pytestmark = [pytest.mark.service, needs("dvc", modules=("moto", "dvc_s3", "boto3"), target="test-services")]

MIMIK = ("env", "PYTHONPATH=src", "python", "-m", "mimik.cli")
NUMBERS = ("metrics.json", "per_face.safetensors", "scores.json", "by_target.csv")
"""Measured on faces, and no picture of any: they may be passed on."""


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with the empty bucket `faces`. Any key is a good one."""
    import boto3

    port = free_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = Server([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], tmp_path / "s3.log")
    try:
        server.start(lambda: answers(port))
        found = f"http://127.0.0.1:{port}"
        boto3.client("s3", endpoint_url=found).create_bucket(Bucket="faces")
        yield found
    finally:
        server.stop()


def bucket(address: str) -> set[str]:
    """The names of everything in the bucket."""
    import boto3

    pages = boto3.client("s3", endpoint_url=address).get_paginator("list_objects_v2").paginate(Bucket="faces")
    return {entry["Key"] for page in pages for entry in page.get("Contents", ())}


def contents(project: Project) -> dict[str, set[str]]:
    """The digests of all files of every output, by the output's path; of a folder, also its own."""
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    found: dict[str, set[str]] = {}
    for out in (out for stage in lock.values() for out in stage["outs"]):
        md5 = out["md5"]
        found[out["path"]] = {md5}
        if md5.endswith(".dir"):
            listing = project.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
            found[out["path"]] |= {entry["md5"] for entry in yaml.safe_load(listing.read_text(encoding="utf-8"))}
    return found


def test_a_clone_pulls_from_s3_and_changes_one_rate_and_restricted_data_never_get_there(
    made: Project, tmp_path: Path, address: str
) -> None:
    project = made.copy(tmp_path / "project")
    project.edit("src/mimik/datasets/affectnet.py", "    raise UserError", "    assert UserError")
    project.edit("params.yaml", "experiments:\n", "experiments:\n  - {dataset: affectnet, method: hier_seg}\n")
    project.must(*MIMIK, "params", "--stages")
    project.must("git", "init", "--quiet", "--initial-branch=main")
    project.must("dvc", "init", "--quiet")
    project.must("dvc", "remote", "add", "--default", "store", "s3://faces/mimik")
    project.must("dvc", "remote", "modify", "store", "endpointurl", address)
    made_more = project.run("snakemake", "--cores", "2", seconds=900)
    assert made_more.status == 0, made_more.text[-6000:]
    project.must("git", "add", "--all")
    project.must("git", "commit", "--quiet", "--message", "made")
    pushed = project.run("dvc", "push", seconds=600)
    assert pushed.status == 0, pushed.text[-6000:]

    there = {name.removeprefix("mimik/files/md5/").replace("/", "") for name in bucket(address)}
    outs = contents(project)
    restricted = [path for path in outs if "affectnet" in path and not path.endswith(NUMBERS)]
    open_ones = [path for path in outs if "synthetic" in path and not path.endswith(NUMBERS)]
    assert len(restricted) > 10
    for path in open_ones:
        assert outs[path] <= there, path
    # The stand-ins make some files of the same content of both kinds of faces.
    passed_on = set[str]().union(*(outs[path] for path in outs if path not in restricted))
    kept_here = set[str]().union(*(outs[path] for path in restricted)) - passed_on
    assert len(kept_here) > 10
    assert not kept_here & there

    clone = Project(tmp_path / "clone")
    project.must("git", "clone", "--quiet", str(project.folder), str(clone.folder))
    assert clone.run("dvc", "pull", seconds=600).status != 0  # it asks for the restricted ones, too
    assert clone.run("dvc", "pull", "--allow-missing", seconds=600).status == 0
    assert not list((clone.folder / "data/prepared").glob("affectnet/*.npy"))
    assert (clone.folder / "results/synthetic/stargan/generator.safetensors").exists()
    clone.edit("params.yaml", *RATE)
    done = clone.must("dvc", "repro", "train@synthetic-stargan")
    assert done.stages == ["settings", "train@synthetic-stargan"]
    assert trained_with(clone) == 0.002
    clone.must("dvc", "push", "train@synthetic-stargan")
    assert len(bucket(address)) > len(there)
