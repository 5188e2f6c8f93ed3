"""Inputs of every kind, with what reads them in mimik."""

import io
import json
import os
import random
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mimik import mirror
from mimik.cli import main
from mimik.components.conditions import Condition, ConditionConfig
from mimik.components.context import Context
from mimik.datasets import folder as folder_dataset
from mimik.faces import photograph
from mimik.faces.action_units import openface
from mimik.faces.prepared import shards
from mimik.faces.prepared.store import FaceStore
from mimik.labels import SEGMENTATION_CLASSES
from mimik.methods import stargan
from mimik.networks import segmenter
from mimik.networks.stored import save_network
from mimik.reporting import results, shown
from mimik.settings import configuration
from mimik.settings.reading import files_of
from mimik.training.runs import load_method
from tests import results_world, tiny
from tests.fuzz.damage import Case, deep, with_bytes, with_fault
from tests.training import test_loop

ROOT = Path(__file__).parents[2]

CLASSES = ["neutral", "happiness", "anger"]


Generator = Callable[[random.Random, Path, int], Iterator[Case]]


def make_model(folder: Path) -> Path:
    """A trained method of random weights."""
    torch.manual_seed(0)
    settings = {"conv_dim": 4, "residual_blocks": 1, "adversary": {"conv_dim": 4, "layers": 3}}
    context = Context(Condition(ConditionConfig(), CLASSES), 64)
    method = stargan.Method(configuration.build(stargan.Config, settings, "fuzz"), context)
    folder.mkdir(parents=True)
    save_file(method.generator_state(), folder / "generator.safetensors")
    record = {
        "dataset": "open_faces", "method": "stargan", "module": "stargan", "scale": "smoke", "seed": 0,
        "image_size": 64, "sizes": [128, 64], "classes": CLASSES, "attributes": [], "config": settings,
        "condition": {}, "architectures": {"segmenter": {"network": "unet", "image_size": 64, "width": 4}},
        "template": None,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(record))
    return folder


def copied(source: Path, folder: Path, number: int) -> Path:
    """A copy of a folder for one case."""
    target = folder / f"{number:04d}" / source.parent.name / source.name
    shutil.copytree(source, target)
    return target


def config_cases(chance: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """config.json of a trained method and of a pre-trained network, and folders that hold neither."""
    model = make_model(folder / "results" / "synthetic" / "stargan")
    network = folder / "segmenter" / "unet"
    built = segmenter.build({"network": "unet", "image_size": 64, "width": 4})
    classes = {"classes": list(SEGMENTATION_CLASSES), "name": "unet", "dataset": "synthetic", "image_size": 64}
    save_network(network, built, {"kind": "segmenter", "architecture": built.settings, **classes})
    whole = [b"[]", b"null", b"5", b"{}", b"{", b"", b'{"a": NaN}', deep(100_000).encode(), b'{"a": 1, "a": 2}']
    whole += [b'{"classes": ' + deep(5000).encode() + b"}", b'{"seed": ' + b"9" * 5000 + b"}", b"\xff\xfe{}"]
    for name in ("..", ".", "generator.safetensors", "../../..", "nothing", "config.json", "x" * 300, "a\0b"):
        yield Case(f"folder {name[:20]!r}", lambda name=name: load_method(model / name))
    for number in range(count - 8):
        source, load = ((model, load_method), (network, segmenter.load))[number % 3 == 2]
        case = copied(source, folder / "cases", number)
        path = case / "config.json"
        if number < 2 * len(whole):
            told, content = whole[number // 2][:20].decode("latin-1"), whole[number // 2]
        elif chance.random() < 0.2:
            told, content = with_bytes(path.read_bytes(), chance)
        else:
            told, tree = with_fault(json.loads(path.read_bytes()), chance)
            content = json.dumps(tree).encode()
        path.write_bytes(content)
        yield Case(f"{case.name} {told}", lambda case=case, load=load: load(case))


def weights_cases(chance: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """generator.safetensors, model.safetensors without its digest, checkpoints."""
    model = make_model(folder / "results" / "synthetic" / "stargan")
    store = tiny.make_store(folder / "store")
    test_loop.run(store, folder / "state", steps=2, checkpoint_seconds=0)
    kept = folder / "state" / "kept.pt"
    task = test_loop.Colour()
    torch.save({"fingerprint": "x", "step": 1, "task": task.state_dict(), "optimisers": {}, "history": []}, kept)
    for number in range(count):
        if number % 2:
            state = folder / "cases" / f"{number:04d}"
            state.mkdir(parents=True)
            told, content = with_bytes(kept.read_bytes(), chance)
            (state / "last.pt").write_bytes(content)
            yield Case(
                f"checkpoint {told}",
                lambda state=state: test_loop.run(store, state, steps=1),
                state,
            )
            continue
        case = copied(model, folder / "cases", number)
        path = case / "generator.safetensors"
        kind = chance.choice(("bytes", "bytes", "nan", "shape", "dtype", "name", "missing", "header"))
        weights = load_file(path)
        name = chance.choice(list(weights))
        told = f"{kind} {name}"
        if kind == "bytes":
            told, content = with_bytes(path.read_bytes(), chance)
            path.write_bytes(content)
        elif kind == "header":
            content = path.read_bytes()
            path.write_bytes(chance.choice((2**63 - 1, 0, 7, 10**8)).to_bytes(8, "little") + content[8:])
        else:
            if kind == "nan":
                weights[name] = torch.full_like(weights[name], chance.choice((float("nan"), float("inf"))))
            elif kind == "shape":
                weights[name] = torch.zeros(chance.choice(((), (0,), (3, 3), (1, 1, 1, 1, 1))))
            elif kind == "dtype":
                weights[name] = weights[name].to(chance.choice((torch.int8, torch.float64, torch.bool)))
            elif kind == "name":
                weights[f"{name}.x"] = weights.pop(name)
            else:
                del weights[name]
            save_file(weights, path)
        yield Case(told, lambda case=case: load_method(case))


def params_cases(chance: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """params.yaml or a file of params/, as `mimik params` reads them."""
    files = [file.relative_to(ROOT) for file in files_of(ROOT / "params.yaml")]
    bomb = b"a: &a [x, x, x, x, x, x, x, x, x]\n"
    bomb += b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b", ".join([b"*%c" % (97 + i)] * 9)) for i in range(9))
    special = [bomb, b"a: &a [*a]", deep(100_000).encode(), b"seed: " + b"9" * 5000, b"!!python/object:os.system x"]
    for number in range(count):
        file = chance.choice(files)
        whole = (ROOT / file).read_bytes()
        lines = whole.split(b"\n")
        if number < len(special):
            told, content = special[number][:20].decode(), special[number]
        else:
            kind = chance.choice(("bytes", "line twice", "no line", "letter", "value", "value", "indent"))
            made, at = list(lines), chance.randrange(len(lines))
            told = f"{file}: {kind} {at + 1}"
            if kind == "bytes":
                told, content = with_bytes(whole, chance)
            else:
                line = made[at]
                key, colon, _ = line.partition(b":")
                made[at : at + 1] = {
                    "line twice": [line, line],
                    "no line": [],
                    "letter": [line.replace(b"e", b"", 1)],
                    "value": [key + colon + b" " + chance.choice(VALUE_TEXTS)] if colon else [line + b" x"],
                    "indent": [b"  " + line],
                }[kind]
                content = b"\n".join(made)
        case = folder / "cases" / f"{number:04d}"
        case.mkdir(parents=True)
        (case / "workflow").symlink_to(ROOT / "workflow")
        (case / "params").mkdir()
        for other in files:
            (case / other).symlink_to(ROOT / other)
        (case / file).unlink()
        (case / file).write_bytes(content)

        def read(case: Path = case) -> None:
            os.chdir(case)
            main(["params"])

        yield Case(told, read)


VALUE_TEXTS = (
    *(b"", b"-1", b"0", b"1e-4", b".nan", b".inf", b"yes", b"[]", b"{}", b"[1, x]", b"{a: 1}", b"2020-01-01", b"~"),
    *(
        b"9" * 400,
        b"1" + b"0" * 18,
        b"'\\ud800'",
        b"\xe9",
        b"*nothing",
        b"&x [*x]",
        b"!!int x",
        b"!!set {a}",
        b"a: b: c",
    ),
)


def store_cases(chance: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """Files of a prepared dataset, and of results on it."""
    source = tiny.make_store(folder / "data" / "tiny").directory
    world = folder / "world"
    rendered = results_world.make_store(world)
    result = results_world.make_result(world)
    results_world.add_continuous(result)

    def read_store(directory: Path) -> None:
        store = FaceStore(directory, 16)
        for part in (store.labels, store.action_units, store.attributes, lambda: store.rows("train")):
            part()
        np.asarray(store.images[:4]).sum()

    def read_result(directory: Path) -> None:
        found = results.read_result(directory, rendered)
        found.translations.sum()
        found.history, found.per_face, found.continuous("strengths"), found.continuous("action_units")
        found.metric("eea"), found.parts("eea"), shown.choose_rows([found], 4, 0)

    for number in range(count):
        case = copied((source, result)[number % 2], folder / "cases", number)
        path = chance.choice(sorted(file for file in case.rglob("*") if file.is_file()))
        if path.suffix == ".json" and chance.random() < 0.8:
            told, tree = with_fault(json.loads(path.read_bytes()), chance)
            path.write_text(json.dumps(tree))
        elif path.suffix == ".npy" and chance.random() < 0.5:
            array = np.load(path)
            changed = chance.choice(
                (array[:1], array.astype(np.float64), array[..., :1], np.array(5), array.reshape(-1))
            )
            told = f"{changed.dtype} {changed.shape}"
            np.save(path, changed)
        else:
            told, content = with_bytes(path.read_bytes(), chance)
            path.write_bytes(content)
        read = (read_store, read_result)[number % 2]
        yield Case(f"{path.name} {told}", lambda case=case, read=read: read(case))


def lists_cases(chance: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """CSV lists of photographs and of OpenFace."""
    photographs = [(f"p{i // 3}/{i}.png", CLASSES[i % 3], f"p{i // 3}") for i in range(60)]
    labels = "\n".join(["path,expression,identity", *map(",".join, photographs)]).encode() + b"\n"
    units = [f"AU{number:02d}_r" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)]
    head = ", ".join(["frame", "face_id", "timestamp", "confidence", "success", *units])
    measured = "\n".join([head, ", ".join(["1", "0", "0", "0.9", "1", *["1.5"] * 17])]).encode()
    raw = folder / "raw"
    for i, (name, _, _) in enumerate(photographs):
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (i, 80, 70)).save(raw / name)
    for number in range(count):
        case = folder / "cases" / f"{number:04d}"
        case.mkdir(parents=True)
        told, content = with_bytes(labels if number % 3 else measured, chance)
        (case / "0.csv").write_bytes(content)

        def read_labels(case: Path = case) -> None:
            options = {"name": "folder", "classes": CLASSES, "csv": str(case / "0.csv")}
            folder_dataset.check(raw, options, None)
            folder_dataset.index(raw, options, 0)

        def read_units(case: Path = case) -> None:
            openface.read(case, 0.5)

        yield Case(told, read_labels if number % 3 else read_units)


def archive_cases(chance: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """Archives, as datasets are unpacked."""

    def tar(*members: tuple[str, bytes, Mapping[str, Any]], mode: str = "w:gz") -> bytes:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode=mode, format=tarfile.GNU_FORMAT) as opened:
            for name, content, more in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                for key, value in more.items():
                    setattr(info, key, value)
                opened.addfile(info, io.BytesIO(content))
        return made.getvalue()

    plain = [("set/a.txt", b"a" * 2000, {}), ("set/b/c.bin", bytes(range(256)) * 9, {})]
    sparse = bytearray(tar(*plain, mode="w"))
    sparse[156] = ord("S")
    special = [
        tar((f"set/{'n' * 300}", b"x", {})), tar(("set/" + "d/" * 3000 + "f", b"x", {})), bytes(sparse),
        tar(("../x", b"x", {})), tar(("/tmp/x", b"x", {})), tar(("l", b"", {"type": tarfile.SYMTYPE, "linkname": "/"})),
        tar(("a", b"x", {}), ("a/b", b"x", {})), tar(("", b"x", {})), tar((".", b"x", {})),
        tar(("a\nb\udc80", b"x", {})),
        tar(("dev", b"", {"type": tarfile.CHRTYPE})), tar(("x" * 50, b"", {"type": tarfile.DIRTYPE})), b"",
    ]  # fmt: skip
    sources = [tar(*plain, mode=f"w{ending}") for ending in ("", ":gz", ":bz2", ":xz")]
    for number in range(count):
        if number < len(special):
            told, content = f"special {number}", special[number]
        else:
            told, content = with_bytes(chance.choice(sources), chance)
            if chance.random() < 0.3:
                made = bytearray(sources[0])
                at = chance.randrange(512)
                made[at : at + 12] = chance.choice((b"\xff" * 12, b"9" * 12, b"\x80" + b"\xff" * 11, b" " * 12))
                told, content = f"header {at}", sealed(made)
        case = folder / "cases" / f"{number:04d}"
        case.mkdir(parents=True)
        (case / "a.tar").write_bytes(content)
        yield Case(
            told,
            lambda case=case: mirror.extract(case / "a.tar", case / "out" / "set", max_bytes=1 << 30),
            case / "out",
        )


def sealed(archive: bytearray) -> bytes:
    """An archive whose first header has the right checksum again, so that it is believed."""
    archive[148:156] = b" " * 8
    archive[148:156] = b"%06o\0 " % sum(archive[:512])
    return bytes(archive)


def picture_cases(chance: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """Photographs, as preparing and editing read them."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    formats = [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("TIFF", {}),
        ("WEBP", {}),
        ("GIF", {}),
        ("BMP", {}),
    ]
    sources = []
    for kind, options in formats:
        made = io.BytesIO()
        Image.fromarray(noise).save(made, kind, **options)
        sources.append((kind, made.getvalue()))
    for number in range(count):
        kind, source = sources[number % len(sources)]
        told, content = with_bytes(source[: chance.choice((60, 400, len(source)))], chance)
        content = content if chance.random() < 0.3 else content + source[len(content) :]
        path = folder / "cases" / f"{number:04d}.{chance.choice(('jpg', 'png', 'tif', kind.lower()))}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        yield Case(f"{kind} {told}", lambda path=path: photograph.read_photograph(path))


def shard_cases(chance: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """Parts of a preparation."""
    folder.mkdir(parents=True, exist_ok=True)
    shards.save(folder / "part.npz", {"images": np.zeros((3, 8, 8, 3), np.uint8), "rows": np.arange(3)})
    source = (folder / "part.npz").read_bytes()
    for number in range(count):
        told, content = with_bytes(source, chance)
        path = folder / "cases" / f"{number:04d}.npz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        yield Case(told, lambda path=path: shards.load(path, ("images", "rows")))


KINDS: Mapping[str, Generator] = {
    "config": config_cases,
    "weights": weights_cases,
    "params": params_cases,
    "store": store_cases,
    "lists": lists_cases,
    "archive": archive_cases,
    "picture": picture_cases,
    "shard": shard_cases,
}
