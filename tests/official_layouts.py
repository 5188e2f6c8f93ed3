"""Archives in the layouts in which their authors give them out, made of any photographs of faces, faults planted.

Each function fills the folder of one archive and says what preparing it has to give: how many faces of each expression
in each split, and every file of the quarantine. The options are those of params.yaml at its scale `smoke`.
"""

import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
from PIL import Image

from mimik.datasets.affectnet import CSV_LAYOUT
from mimik.datasets.cfee import BASIC
from mimik.labels import EXPRESSIONS
from tests.datasets import cfee_world, rafd_world
from tests.datasets.affectnet_world import CsvRelease, NpyRelease, no_file
from tests.datasets.celeba_world import attribute_line, draw, write_attributes, write_mapping

Counts = Counter[tuple[str, str]]
Excuse = tuple[str, str]
"""Stage of the quarantine, and how its reason begins."""

UNREADABLE: Mapping[str, Excuse] = {
    "empty": ("read", "the file is empty"),
    "text": ("read", "cannot be decoded: cannot identify image file"),
    "truncated": ("read", "cannot be decoded: image file is truncated"),
    "wall": ("landmarks", "no face found"),
}
"""Files that are no photograph of a face, and how preparing says so."""

BY_HEADER: Mapping[str, Excuse] = {
    **UNREADABLE,
    "empty": ("listing", "an empty file"),
    "text": ("listing", "not a readable image"),
}
"""The same of datasets whose index looks at the files' headers."""

PLACES = {
    "skin": (120, 90, 390, 430),
    "l_brow": (160, 180, 240, 200),
    "r_brow": (270, 180, 350, 200),
    "l_eye": (170, 210, 230, 235),
    "r_eye": (280, 210, 340, 235),
    "nose": (225, 240, 285, 320),
    "u_lip": (200, 345, 310, 362),
    "l_lip": (200, 362, 310, 385),
    "hair": (100, 20, 410, 110),
    "neck": (190, 430, 320, 500),
}
"""Where the masks of CelebAMask-HQ are drawn, of 512 px."""


@dataclass
class Planted:
    """What preparing an archive has to give."""

    entry: str
    counts: Counts = field(default_factory=Counter)
    quarantine: dict[str, Excuse] = field(default_factory=dict)

    def differences(self, store: Path) -> list[str]:
        """What of a prepared dataset is otherwise; empty when it is all right."""
        table = pd.read_csv(store / "index.csv", dtype=str, keep_default_na=False)
        found = Counter(zip(table["split"], table["expression"], strict=True))
        told = [
            f"{split} {expression}: {found[split, expression]} faces, not {self.counts[split, expression]}"
            for split, expression in sorted(found.keys() | self.counts.keys())
            if found[split, expression] != self.counts[split, expression]
        ]
        rows = pd.read_csv(store / "quarantine.csv", dtype=str, keep_default_na=False)
        if (twice := rows["path"][rows["path"].duplicated()].tolist()) or set(rows["path"]) & set(table["source"]):
            told.append(f"in the quarantine twice, or in the index too: {twice}")
        left_out = {path: (stage, reason) for path, stage, reason in rows.itertuples(index=False)}
        for path in sorted(left_out.keys() | self.quarantine.keys()):
            stage, reason = left_out.get(path, ("index", "not in the quarantine"))
            wanted, begins = self.quarantine.get(path, ("index", "not in the quarantine"))
            if stage != wanted or not reason.startswith(begins):
                told.append(f"{path}: {stage}, {reason}; not {wanted}, {begins}")
        return told


class Photographs:
    """Writes images: photographs of faces, each once, and files that are none."""

    def __init__(self, faces: Iterable[Image.Image], accepted: Callable[[Path], bool] = lambda path: True) -> None:
        """Take them from `faces` (RGB). Those whose file, once written, is not `accepted` are passed over."""
        self._faces: Iterator[Image.Image] = iter(faces)
        self._accepted = accepted

    def of(self, width: int, height: int, mode: str = "RGB", orientation: int = 1) -> Callable[[Path], None]:
        """Writer of a photograph of some size: the whole face on white, as JPEG, .png excepted.

        `mode` is Pillow's; `orientation` EXIF's: 6 for a camera that was held on its side.
        """

        def write(path: Path) -> None:
            for face in self._faces:
                scale = min(width / face.width, height / face.height)
                part = face.resize((round(face.width * scale), round(face.height * scale)), Image.Resampling.BICUBIC)
                picture = Image.new("RGB", (width, height), (255, 255, 255))
                picture.paste(part, ((width - part.width) // 2, (height - part.height) // 2))
                if orientation == 6:
                    picture = picture.transpose(Image.Transpose.ROTATE_90)
                exif = Image.Exif()
                exif[0x0112] = orientation
                kind = "PNG" if path.suffix == ".png" else "JPEG"
                picture.convert(mode).save(path, kind, quality=92, exif=exif)
                if self._accepted(path):
                    return
            raise ValueError(f"{path}: no photograph is left")

        return write

    def broken(self, kind: str, width: int, height: int) -> Callable[[Path], None]:
        """Writer of a file of `UNREADABLE`."""

        def write(path: Path) -> None:
            if kind == "wall":
                grain = np.random.default_rng(crc32(path.name.encode()))  # no two of the same bytes
                Image.fromarray(grain.integers(90, 110, (height, width, 3), dtype=np.uint8)).save(path, "JPEG")
            elif kind == "truncated":
                self.of(width, height)(path)
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            else:
                path.write_bytes(b"" if kind == "empty" else b"404: there is no such photograph")

        return write


def affectnet_csv(raw: Path, photographs: Photographs, each: int = 4) -> Planted:
    """The CSV release: uncropped photographs of any size, eleven codes, rows that contradict each other."""
    release = CsvRelease(raw, photographs.of(420, 360), each)
    counts = _balanced(each)
    left_out: dict[str, Excuse] = {}
    for code, reason in ((8, "labelled none"), (9, "labelled uncertain"), (10, "labelled non-face")):
        release.add("training", f"0/code{code}.jpg", code)
        left_out[f"0/code{code}.jpg"] = ("selection", reason)
    for name, code, reason in (("eleven", 11, "unknown code '11'"), ("nocode", "", "unknown code ''")):
        release.add("training", f"0/{name}.jpg", code)
        left_out[f"0/{name}.jpg"] = ("listing", reason)
    release.add("training", "0/nobox.jpg", 1, width=-4)
    left_out["0/nobox.jpg"] = ("listing", "listed without a face box")
    release.add("training", "0/gone.jpg", 1, photo=no_file)
    left_out["0/gone.jpg"] = ("listing", "listed, but there is no such file")
    for name, other in (("clash", "training"), ("acrossclash", "validation")):
        release.add("training", f"0/{name}.jpg", 1)
        release.add(other, f"0/{name}.jpg", 2, photo=no_file)
        left_out[f"0/{name}.jpg"] = ("listing", "listed with different codes: 1, 2")
    photographs.of(300, 300)(raw / CSV_LAYOUT[0] / "0/unlisted.png")
    left_out["0/unlisted.png"] = ("listing", "in neither list")
    for kind, excuse in UNREADABLE.items():
        release.add("validation", f"0/{kind}.jpg", 3, photo=photographs.broken(kind, 300, 300))
        left_out[f"0/{kind}.jpg"] = excuse
    # Odd, and yet usable: other colours, a camera on its side, a list that repeats itself.
    release.add("validation", "0/print.jpg", 3, photo=photographs.of(330, 330, mode="CMYK"))
    release.add("validation", "0/sideways.JPEG", 3, photo=photographs.of(400, 330, orientation=6))
    release.add("validation", "0/grey.jpg", 3, photo=photographs.of(330, 330, mode="L"))
    counts["test", "surprise"] += 3
    release.add("training", "0/inboth.jpg", 4)
    release.add("validation", "0/inboth.jpg", 4, photo=no_file)
    counts["test", "fear"] += 1
    release.add("validation", "9/val50.JPG", 5, photo=no_file)
    release.write()
    return Planted("affectnet", counts, {f"{CSV_LAYOUT[0]}/{path}": excuse for path, excuse in left_out.items()})


def affectnet_npy(raw: Path, photographs: Photographs, each: int = 4) -> Planted:
    """The npy release: crops of 224 px, one small array for every annotation."""
    release = NpyRelease(raw, photographs.of(224, 224), each)
    counts = _balanced(each)
    left_out: dict[str, Excuse] = {}
    train, val = "train_set/images", "val_set/images"
    photographs.of(224, 224)(raw / train / "77701.jpg")
    left_out[f"{train}/77701.jpg"] = ("listing", "no annotation train_set/annotations/77701_exp.npy")
    release.add("val_set", "77702", 1, photo=no_file)
    left_out[f"{val}/77702.jpg"] = ("listing", "annotated, but there is no such file")
    release.add("train_set", "77703", 8)
    left_out[f"{train}/77703.jpg"] = ("selection", "labelled none")
    release.add("train_set", "77704", "happy")
    left_out[f"{train}/77704.jpg"] = ("listing", "unknown code 'happy'")
    objects = release.add("train_set", "77705", 0)
    with objects.open("wb") as opened:
        np.save(opened, np.array({"code": 1}, dtype=object), allow_pickle=True)
    release.add("train_set", "77706", 0).write_bytes(pickle.dumps(1))
    release.add("train_set", "77707", 0).write_bytes(b"")
    for stem in (77705, 77706, 77707):
        left_out[f"{train}/{stem}.jpg"] = (
            "listing",
            f"unreadable annotation train_set/annotations/{stem}_exp.npy",
        )
    for number, (kind, excuse) in enumerate(UNREADABLE.items()):
        release.add("val_set", f"{88800 + number}", 7, photo=photographs.broken(kind, 224, 224))
        left_out[f"{val}/{88800 + number}.jpg"] = excuse
    release.annotate("val_set", "6000_exp", np.array(6))  # a number, as in other copies
    return Planted("affectnet", counts, left_out)


def rafd(
    raw: Path, photographs: Photographs, models: int = 3, gazes: int = 2, held_out: tuple[int, int] = (1, 1)
) -> Planted:
    """RaFD as the entry `rafd90` takes it: models from the front, of one of them also from the side.

    Two photographs of every model are broken, so that it does not matter which models are held out for `val` and test.
    """
    numbers = [number for number in range(1, 74) if number not in (6, 13, 17, 34, 62, 65, 66)][: models - 1]
    people = [f"{number:02d}_{('Caucasian_female', 'Moroccan_male')[number % 2]}" for number in numbers]
    people.append("65_Kid_male")
    photo = photographs.of(681, 1024)
    rafd_world.release(raw, photo, people, ("090",), rafd_world.GAZES[:gazes])
    rafd_world.release(raw, photo, people[:1], ("045",), ("frontal",))
    left_out: dict[str, Excuse] = {
        f"Rafd045_{people[0]}_{word}_frontal.jpg": ("selection", "angle 045 is not among `angles`")
        for word in rafd_world.WORDS
    }
    for number, person in enumerate(people):
        for word, kind in (("angry", number), ("contemptuous", number + 2)):
            path = f"Rafd090_{person}_{word}_left.jpg"
            name = list(BY_HEADER)[kind % len(BY_HEADER)]
            photographs.broken(name, 681, 1024)(raw / path)
            left_out[path] = BY_HEADER[name]
    for stem, reason in (
        ("Rafd090_06_Caucasian_male_happy_frontal", "unknown model '06' in the name"),
        ("Rafd090_01_Caucasian_female_joyful_frontal", "unknown expression 'joyful' in the name"),
        ("Rafd090_01_Caucasian_female_happy_up", "unknown gaze 'up' in the name"),
        ("Rafd60_01_Caucasian_female_happy_left", "unknown angle '60' in the name"),
        ("IMG_0001", "the name is not Rafd<angle>"),
    ):
        photo(raw / f"{stem}.jpg")
        left_out[f"{stem}.jpg"] = ("listing", reason)
    (raw / "more").mkdir()
    name = f"Rafd090_{people[0]}_happy_left.jpg"
    photo(raw / "more" / name)
    left_out[f"more/{name}"] = ("listing", f"the same photograph as {name}")
    (raw / "readme.txt").write_text("no image, and not mentioned anywhere")
    shares = {"train": models - sum(held_out), "val": held_out[0], "test": held_out[1]}
    counts = Counter(
        {
            (split, expression): number * (gazes - (expression in ("anger", "contempt")))
            for split, number in shares.items()
            for expression in EXPRESSIONS
        }
    )
    return Planted("rafd90", counts, left_out)


def cfee(raw: Path, photographs: Photographs) -> Planted:
    """CFEE: ten subjects with the basic and two of the compound categories, labelled by a CSV."""
    photo = photographs.of(300, 240)
    rows = cfee_world.release(raw, photo, categories=9)
    left_out: dict[str, Excuse] = {
        path: ("selection", "category happily_") for path, label, _ in rows if path.startswith("Compound")
    }
    for kind, excuse in BY_HEADER.items():
        rows.append((f"Basic/{kind}.jpg", "angry", "s3"))
        photographs.broken(kind, 300, 240)(raw / f"Basic/{kind}.jpg")
        left_out[f"Basic/{kind}.jpg"] = excuse
    for name, label, subject, reason in (
        ("furious", "furious", "s1", "unknown label 'furious'"),
        ("nobody", "happy", "", "listed without a subject"),
        ("gone", "happy", "s1", "listed, but there is no such file"),
        ("clash", "happy", "s1", "listed with different labels or subjects"),
        ("unlisted", "", "", "not listed in manifest.csv"),
    ):
        path = f"Basic/{name}.png"
        if name != "gone":
            photo(raw / path)
        if name != "unlisted":
            rows.append((path, label, subject))
        left_out[path] = ("listing", reason)
    rows.append(("Basic/clash.png", "sad", "s1"))
    (raw / "Basic/zcopy.png").write_bytes((raw / "Basic/0_1.png").read_bytes())
    rows.append(("Basic/zcopy.png", "happy", "s0"))
    left_out["Basic/zcopy.png"] = ("listing", "same bytes as Basic/0_1.png")
    cfee_world.write(raw, rows)
    counts = Counter(
        {
            (split, expression): number
            for split, number in (("train", 8), ("val", 1), ("test", 1))
            for expression in BASIC
        }
    )
    return Planted("cfee", counts, left_out)


def celeba(raw: Path, photographs: Photographs, each: int = 3) -> Planted:
    """CelebA: aligned photographs of 178 x 218 px, 40 attributes, the official partition (`split: official`)."""
    images = raw / "img_align_celeba"
    images.mkdir(parents=True)
    photo = photographs.of(178, 218)
    counts, left_out, numbers = Counter[tuple[str, str]](), dict[str, Excuse](), list[tuple[int, str]]()
    for partition, (split, first, count) in enumerate(_spans((1, 162_771, 182_638), each)):
        for number in range(first, first + count):
            numbers.append((number, str(partition)))
            counts[split, _smiling(number)] += 1
    lines = [attribute_line(f"{number:06d}.jpg", _ones(number)) for number, _ in numbers]
    partitions = {f"{number:06d}.jpg": value for number, value in numbers}
    for number, _ in numbers:
        photo(images / f"{number:06d}.jpg")
    for position, (kind, excuse) in enumerate(UNREADABLE.items()):
        name = f"{500 + position:06d}.jpg"
        photographs.broken(kind, 178, 218)(images / name)
        lines.append(attribute_line(name))
        partitions[name] = "0"
        left_out[name] = excuse
    for name, further, reason in (
        ("000600.jpg", [attribute_line("000600.jpg").replace("-1", "0", 1)], "attribute values other than 1 and -1"),
        ("000601.jpg", [attribute_line("000601.jpg", ones) for ones in ((), ("Male",))], "listed twice in"),
        ("000602.jpg", [], "not in the list of attributes"),
        ("000603.jpg", [attribute_line("000603.jpg")], "listed, but there is no such file"),
        ("000604.jpg", [attribute_line("000604.jpg")], "list_eval_partition.txt does not assign it 0, 1 or 2"),
        ("605.jpg", [attribute_line("605.jpg")], "listed in list_attr_celeba.txt, line"),
    ):
        lines += further
        partitions[name] = "3" if name == "000604.jpg" else "0"
        if name != "000603.jpg":
            photo(images / name)
        left_out[name] = ("listing", reason)
    lines.append(lines[0])  # an equal line counts once
    write_attributes(raw / "list_attr_celeba.txt", lines)
    (raw / "list_eval_partition.txt").write_text("".join(f"{name} {value}\n" for name, value in partitions.items()))
    return Planted("celeba", counts, {f"img_align_celeba/{name}": excuse for name, excuse in left_out.items()})


def celeba_hq(raw: Path, photographs: Photographs, each: int = 3) -> Planted:
    """CelebA-HQ: 1024 px, labelled by CelebA's list through the mapping; the split by number."""
    images = raw / "CelebA-HQ-img"
    images.mkdir(parents=True)
    photo = photographs.of(1024, 1024)
    counts, left_out = Counter[tuple[str, str]](), dict[str, Excuse]()
    sound = []
    for split, first, count in _spans((0, 28_000, 28_500), each):
        sound += range(first, first + count)
        for number in range(first, first + count):
            counts[split, _smiling(number)] += 1
    origins = {number: 3 * number + 7 for number in [*sound, *range(600, 604), *range(700, 703)]}
    lines = {number: attribute_line(f"{origins[number] + 1:06d}.jpg", _ones(number)) for number in origins}
    for number in sound:
        photo(images / f"{number}.jpg")
    for number, (kind, excuse) in zip(range(600, 604), UNREADABLE.items(), strict=True):
        photographs.broken(kind, 1024, 1024)(images / f"{number}.jpg")
        left_out[f"{number}.jpg"] = excuse
    for number in (700, 701, 29_999):
        photo(images / f"{number}.jpg")
    lines[700] = lines[700].replace("-1", "0", 1)
    del lines[701]
    left_out["700.jpg"] = ("listing", f"{origins[700] + 1:06d}.jpg: attribute values other than 1 and -1")
    left_out["701.jpg"] = ("listing", f"{origins[701] + 1:06d}.jpg, from which it was made, is not in")
    left_out["702.jpg"] = ("listing", "listed, but there is no such file")
    left_out["29999.jpg"] = ("listing", "not in the list of attributes")
    write_mapping(raw / "CelebA-HQ-to-CelebA-mapping.txt", origins)
    write_attributes(raw / "list_attr_celeba.txt", sorted(lines.values()))
    return Planted("celeba_hq", counts, {f"CelebA-HQ-img/{name}": excuse for name, excuse in left_out.items()})


def celebamask_hq(raw: Path, photographs: Photographs, each: int = 3) -> Planted:
    """CelebAMask-HQ: 1024 px, masks of 512 px in folders of 2,000; the split by the place in CelebA."""
    images, masks = raw / "CelebA-HQ-img", raw / "CelebAMask-HQ-mask-anno"
    images.mkdir(parents=True)
    photo = photographs.of(1024, 1024)
    counts, left_out, origins = Counter[tuple[str, str]](), dict[str, Excuse](), dict[int, int]()
    number = 1990  # so that the masks take two folders
    for split, first, count in _spans((0, 162_771, 182_638), each):
        for position in range(count):
            origins[number] = first + position
            counts[split, _smiling(number)] += 1
            photo(images / f"{number}.jpg")
            _draw_all(masks, number)
            number += 1
    for spoilt, (kind, excuse) in zip(range(600, 604), UNREADABLE.items(), strict=True):
        origins[spoilt] = 1000 + spoilt
        photographs.broken(kind, 1024, 1024)(images / f"{spoilt}.jpg")
        _draw_all(masks, spoilt)
        left_out[f"{spoilt}.jpg"] = excuse
    for spoilt in range(700, 708):
        origins[spoilt] = 1000 + spoilt
        if spoilt != 703:
            photo(images / f"{spoilt}.jpg")
        if spoilt != 700:
            _draw_all(masks, spoilt)
    left_out["700.jpg"] = ("listing", "not annotated: no CelebAMask-HQ-mask-anno/0/00700_*.png")
    draw(masks, 701, "cloth", (0, 200, 256, 256), side=256)
    left_out["701.jpg"] = ("masks", "00701_cloth.png is 256 x 256 px, another mask of this face 512 x 512")
    hair = draw(masks, 702, "hair", PLACES["hair"], side=512)
    hair.write_bytes(hair.read_bytes()[:60])
    left_out["702.jpg"] = ("masks", "00702_hair.png cannot be read")
    left_out["703.jpg"] = ("listing", "listed, but there is no such file")
    for name, place in (("l_eye", "r_eye"), ("r_eye", "l_eye")):
        draw(masks, 704, name, PLACES[place], side=512)
    left_out["704.jpg"] = ("masks", "left and right eye are annotated the other way round")
    del origins[705]
    left_out["705.jpg"] = ("listing", "not in CelebA-HQ-to-CelebA-mapping.txt")
    left_out["706.jpg"] = ("listing", "not in the list of attributes")
    # An image with few of the classes is sound.
    for path in (masks / "0").glob("00707_*.png"):
        if "eye" not in path.name:
            path.unlink()
    counts["train", _smiling(707)] += 1
    listed = sorted({*origins, 705} - {706})
    write_mapping(raw / "CelebA-HQ-to-CelebA-mapping.txt", origins)
    write_attributes(
        raw / "CelebAMask-HQ-attribute-anno.txt", [attribute_line(f"{one}.jpg", _ones(one)) for one in listed]
    )
    (raw / "CelebAMask-HQ-pose-anno.txt").write_text("not read\n")
    return Planted("celebamask_hq", counts, {f"CelebA-HQ-img/{name}": excuse for name, excuse in left_out.items()})


def _balanced(each: int) -> Counts:
    """AffectNet's faces: of every class three to test, and of `each` a twentieth, at least one, held out."""
    held = max(1, round(0.05 * each))
    sizes = {"train": each - held, "val": held, "test": 3}
    return Counter({(split, expression): count for split, count in sizes.items() for expression in EXPRESSIONS})


def _spans(firsts: tuple[int, int, int], each: int) -> list[tuple[str, int, int]]:
    """Split, first number and how many: 2 * each to train on, 2 to validate, 4 to test."""
    return [
        (split, first, count)
        for split, first, count in zip(("train", "val", "test"), firsts, (2 * each, 2, 4), strict=True)
    ]


def _smiling(number: int) -> str:
    return "smiling" if number % 2 else "not_smiling"


def _ones(number: int) -> list[str]:
    return ["Smiling", "Young"] if number % 2 else ["Male"]


def _draw_all(masks: Path, number: int) -> None:
    for name, box in PLACES.items():
        draw(masks, number, name, box, side=512)
