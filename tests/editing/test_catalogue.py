"""Models that are given away: the list, what comes with mimik, what is fetched, and every way in which that fails."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import mimik
from mimik.cli import main
from mimik.editing import catalogue, exporting
from mimik.editing.catalogue import Archive, Entry, entries, fetch, folder_of, model_folder, verify
from mimik.editing.packing import pack
from mimik.errors import UserError
from mimik.settings.reading import read
from tests.editing.models import make_model

ROOT = Path(__file__).parents[2]
NAME = "tiny-rendered"
METRICS = {"metrics": {"eea": {"value": 0.97512}, "fid": {"skipped": "no"}}, "git_commit": "abc1234def"}
CLOSED = "http://127.0.0.1:9/tiny-rendered.tar.gz"


@pytest.fixture(scope="module")
def params() -> Any:
    return read(ROOT / "params.yaml")[0]


def make_result(folder: Path, **config: Any) -> Path:
    """A measured StarGAN of random weights that counts as trained on rendered faces."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    make_model(folder)
    path = folder / "config.json"
    seen = {"dataset": "synthetic", "trained_on": {"rendered": True, "grey": False}, "run_key": "0" * 16, "seed": 0}
    path.write_text(json.dumps({**json.loads(path.read_text()), **seen, **config}))
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    return folder


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, params: Any) -> tuple[Path, str]:
    """The folder of an archive, and its entry for the list."""
    folder = tmp_path_factory.mktemp("packed")
    return folder, pack(NAME, make_result(folder / "results/stargan"), folder, params)


@pytest.fixture
def listed(tmp_path: Path, packed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Entry]:
    """Puts that model alone on the list, with changes of its archive, on a machine that has no model."""
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "MIMIK_MIRROR"):
        monkeypatch.delenv(proxy, raising=False)
    monkeypatch.setenv(catalogue.VARIABLE, str(tmp_path / "cache"))
    models = tmp_path / "models"
    models.mkdir()
    monkeypatch.setattr(catalogue, "MODELS", models)

    def list_it(**archive: Any) -> Entry:
        values = yaml.safe_load(packed[1])
        values[NAME]["archive"] |= archive
        (models / catalogue.INDEX).write_text(yaml.safe_dump(values))
        return catalogue.entry(NAME)

    return list_it


def test_what_comes_with_mimik_is_what_the_list_says() -> None:
    shipped = [entry for entry in entries().values() if entry.archive is None]
    assert [entry.name for entry in shipped] == ["stargan-rendered", "hier-seg-rendered"]
    for entry in shipped:
        folder = catalogue.MODELS / entry.name
        verify(entry, folder)
        assert {path.name for path in folder.iterdir()} == entry.files.keys()
        assert catalogue.name_of(folder) == entry.name and catalogue.name_of(Path("results/a/b")) is None
        assert sum(path.stat().st_size for path in folder.iterdir()) < 4_000_000
        assert b"\r" not in (folder / "README.md").read_bytes()


def test_nothing_is_given_away_that_was_not_trained_on_rendered_faces_alone() -> None:
    for entry in entries().values():
        assert entry.dataset == "synthetic" and "no good on photographs" in entry.note and "MIT" in entry.terms
        folder = folder_of(entry)
        assert folder is not None
        config = json.loads((folder / "config.json").read_text())
        assert config["trained_on"] == {"grey": False, "rendered": True} and config["exported"]["restricted"] is False
        record = json.loads((folder / "metrics.json").read_text())
        assert entry.commit == record["git_commit"]
        assert entry.figures == {name: round(record["metrics"][name]["value"], 4) for name in entry.figures}
        assert (entry.method, entry.scale, entry.image_size) == (
            config["method"],
            config["scale"],
            config["image_size"],
        )


@pytest.mark.parametrize("name", ["stargan-rendered", "hier-seg-rendered"])
def test_a_name_loads_a_model_whose_edits_of_rendered_faces_are_near_the_true_ones(name: str) -> None:
    from mimik.datasets import synthetic

    options = {"classes": ["neutral", "surprise"], "identities": {"train": 1, "val": 1, "test": 6}, "sizes": [64]}
    table = synthetic.index(Path(), options, 7).table
    table = table[(table["split"] == "test") & (table["expression"] == "neutral")]
    faces = synthetic.render(table, 64, ("images",)).images
    truth = synthetic.render(synthetic.with_expression(table, "surprise"), 64, ("images",)).images
    with mimik.load(name) as model:
        assert (model.dataset, model.size) == ("synthetic", 64)
        edited = model.edit_faces(faces, to="surprise")
    apart = [np.square(some.astype(float) - truth).mean((1, 2, 3)) for some in (edited, faces)]
    assert (apart[0] < apart[1]).all() and apart[0].mean() < 0.6 * apart[1].mean()


def test_a_folder_of_the_same_name_is_meant_before_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stargan-rendered").mkdir()
    monkeypatch.chdir(tmp_path)
    assert model_folder("stargan-rendered") == Path("stargan-rendered")
    assert model_folder("results/a/b") == Path("results/a/b")


def test_a_model_is_taken_from_a_mirror_first_and_used_by_its_name(
    packed: tuple[Path, str], listed: Callable[..., Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    listed(address=CLOSED)  # nothing answers there
    with pytest.raises(UserError, match=f"^{NAME}: not on this machine yet. Run `mimik models fetch {NAME}`.$"):
        mimik.load(NAME)
    main(["models", "fetch", NAME, "--mirror", str(packed[0])])
    assert (packed[0] / f"{NAME}.tar.gz").is_file()
    assert model_folder(NAME) == catalogue.fetched() / NAME
    with mimik.load(NAME) as model:
        assert model.method == "stargan"
    main(["models", "verify", NAME])
    main(["models", "list"])
    told = capsys.readouterr().out
    assert "as it should be" in told and f"{NAME}: stargan on synthetic, scale smoke, 64 px; fetched" in told


def test_an_archive_that_was_downloaded_is_not_kept(packed: tuple[Path, str], listed: Callable[..., Entry]) -> None:
    entry = listed(address=(packed[0] / f"{NAME}.tar.gz").as_uri())
    assert fetch(entry) == catalogue.fetched() / NAME
    assert not (catalogue.fetched() / f"{NAME}.tar.gz").exists()


def test_without_a_network_it_says_where_to_put_the_file(listed: Callable[..., Entry]) -> None:
    with pytest.raises(UserError, match=rf"the download from {CLOSED} failed.*Put {NAME}\.tar\.gz into"):
        fetch(listed(address=CLOSED))
    with pytest.raises(UserError, match=rf"there is no public download for it\. Put {NAME}\.tar\.gz into"):
        fetch(listed(address=None))
    assert folder_of(catalogue.entry(NAME)) is None


def test_another_archive_than_the_listed_one_is_refused(packed: tuple[Path, str], listed: Callable[..., Entry]) -> None:
    entry = listed(sha256="0" * 64)
    with pytest.raises(UserError, match="not the expected file: its SHA-256 is"):
        fetch(entry, packed[0])
    assert folder_of(entry) is None


def test_a_changed_file_is_found_before_it_is_used(packed: tuple[Path, str], listed: Callable[..., Entry]) -> None:
    entry = listed()
    folder = fetch(entry, packed[0])
    weights = folder / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    told = rf"generator\.safetensors: damaged or changed: .* Delete the folder and run `mimik models fetch {NAME}`\."
    for use in (lambda: mimik.load(NAME), lambda: main(["models", "verify"])):
        with pytest.raises((UserError, SystemExit)) as ended:
            use()
        assert isinstance(ended.value, SystemExit) or ended.match(told)
    weights.unlink()
    with pytest.raises(UserError, match=f"missing, so this is not the model {NAME}"):
        mimik.load(NAME)
    shutil.rmtree(folder)
    folder = fetch(entry, packed[0])
    with pytest.raises(UserError, match="Install mimik again"):
        verify(replace(entry, archive=None, files={"config.json": "0" * 64}), folder)


@pytest.mark.parametrize("command", [["edit", "me.png", "--to", "anger", "-o", "out.png"], ["app"], ["export"]])
def test_an_unknown_name_gets_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save("me.png")
    verb, *rest = command
    given = ["stargan-renderd", "--folder", "f"] if verb == "export" else [*rest, "--model", "stargan-renderd"]
    with pytest.raises(SystemExit) as ended:
        main([verb, *given])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "stargan-renderd: there is no such folder, and no model of this name" in told
    assert "Did you mean stargan-rendered?" in told


def test_fetch_of_an_unknown_name_lists_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["models", "fetch", "nobody"])
    assert (
        "nobody: no model of this name is given away. Known: hier-seg-rendered, stargan-rendered"
        in capsys.readouterr().err
    )


def test_what_was_packed_is_listed_as_it_is(tmp_path: Path, packed: tuple[Path, str], params: Any) -> None:
    (tmp_path / catalogue.INDEX).write_text(packed[1])
    entry = entries(tmp_path)[NAME]
    content = (packed[0] / f"{NAME}.tar.gz").read_bytes()
    assert entry.archive == Archive(len(content), hashlib.sha256(content).hexdigest(), None)
    assert entry.figures == {"eea": 0.9751} and entry.commit == "abc1234def"
    assert sorted(entry.files) == ["README.md", "config.json", "generator.safetensors", "metrics.json"]
    again = make_result(tmp_path / "other/place/stargan")
    pack(NAME, again, tmp_path, params)
    assert (tmp_path / f"{NAME}.tar.gz").read_bytes() == content
    with pytest.raises(UserError, match="already exists"):
        pack(NAME, again, tmp_path, params)


@pytest.mark.parametrize(
    ("name", "config", "told"),
    [
        ("Tiny", {}, "expected a name of small letters"),
        (NAME, {"trained_on": {"rendered": False, "grey": False}}, "was not trained on rendered faces"),
        (NAME, {"trained_on": {"rendered": True, "grey": False}, "dataset": "rafd"}, "may not be passed on"),
    ],
)
def test_nothing_else_is_packed(tmp_path: Path, params: Any, name: str, config: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        pack(name, make_result(tmp_path / "results/stargan", **config), tmp_path / "out", params)
    assert not (tmp_path / "out").exists()


def test_half_precision_halves_the_weights_and_the_card_says_what_it_changes(tmp_path: Path, params: Any) -> None:
    model, folder = make_result(tmp_path / "results/stargan"), tmp_path / "half"
    exporting.export(model, params, folder=folder, half=True, graph=False)
    whole, half = (load_file(place / "generator.safetensors") for place in (model, folder))
    assert whole.keys() == half.keys() and {value.dtype for value in half.values()} == {torch.float16}
    for name, value in whole.items():
        torch.testing.assert_close(half[name].float(), value, rtol=2**-10, atol=2**-24)
    card = (folder / "README.md").read_text()
    assert "| Precision | half; on images in [-1, 1]," in card and "of the weights before rounding. |" in card
    for again in (True, False):  # passed on once more, it is still what it is
        exporting.export(folder, None, folder=tmp_path / "next", half=again, graph=False, overwrite=True)
        assert (tmp_path / "next" / "README.md").read_text() == card
        assert json.loads((tmp_path / "next" / "config.json").read_text())["exported"]["precision"]
    with pytest.raises(SystemExit):
        main(["export", str(model), "--half", "--onnx", str(tmp_path / "a.onnx")])
