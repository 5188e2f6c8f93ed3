from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mimik.datasets.lists import read_list
from mimik.datasets.photographs import (
    drop_same_bytes,
    gaps,
    identifier,
    image_mode,
    make_listing,
    require_faces,
    seeded_rank,
    split_by_group,
)
from mimik.datasets.tree import find_images
from mimik.errors import UserError

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def test_ten_single_photographs_of_a_class_split_eight_one_one() -> None:
    groups = [str(number) for number in range(20)]
    labels = ["smile"] * 10 + ["frown"] * 10
    splits = split_by_group(groups, labels, SHARES, 0)
    for half in (splits[:10], splits[10:]):
        assert Counter(half) == {"train": 8, "val": 1, "test": 1}


def test_large_group_goes_where_most_is_lacking() -> None:
    # 60 of 100 photographs show one person: only train (80) has room, and 20 of the single ones remain for it.
    groups = ["famous"] * 60 + [str(number) for number in range(40)]
    for seed in range(10):
        splits = split_by_group(groups, ["smile"] * 100, SHARES, seed)
        assert set(splits[:60]) == {"train"}
        assert Counter(splits) == {"train": 80, "val": 10, "test": 10}


def test_person_with_two_expressions_counts_for_the_more_frequent_one() -> None:
    # "both" smiles twice and frowns once; frown alone then has four photographs: too few for a share of a half each.
    groups = ["both", "both", "both", *"abcdefg"]
    labels = ["smile", "smile", "frown", *["smile"] * 3, *["frown"] * 4]
    splits = split_by_group(groups, labels, {"train": 0.5, "val": 0.25, "test": 0.25}, 0)
    assert len(set(splits[:3])) == 1
    assert Counter(splits[6:]) == {"train": 2, "val": 1, "test": 1}


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=60),
    seed=st.integers(0, 5),
)
def test_no_group_is_divided_and_no_split_is_overfilled_by_more_than_one_group(sizes: list[int], seed: int) -> None:
    groups = [str(group) for group, size in enumerate(sizes) for _ in range(size)]
    splits = split_by_group(groups, ["smile"] * len(groups), SHARES, seed)
    homes: dict[str, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        homes.setdefault(group, set()).add(split)
    assert all(len(found) == 1 for found in homes.values())
    for split, share in SHARES.items():
        assert splits.count(split) <= share * len(groups) + max(sizes)


def test_order_of_the_images_does_not_matter_but_the_seed_does() -> None:
    groups = [str(number) for number in range(100)]
    forward = dict(zip(groups, split_by_group(groups, ["smile"] * 100, SHARES, 3), strict=True))
    backward = dict(zip(groups[::-1], split_by_group(groups[::-1], ["smile"] * 100, SHARES, 3), strict=True))
    assert forward == backward
    other = dict(zip(groups, split_by_group(groups, ["smile"] * 100, SHARES, 4), strict=True))
    assert forward != other


def test_rank_is_the_same_on_every_machine() -> None:
    # SHA-256 of the text 0:a, from coreutils' sha256sum.
    assert seeded_rank(0, "a") == "9df3c5fab8ef8fe78a408912e52e76477b5bd838eec3cbf48191a848ec8563d3"


def test_identifiers_are_safe_stable_and_tell_paths_apart() -> None:
    assert identifier("George_W_Bush_0001.jpg") == "George_W_Bush_0001"
    paths = ["a/b.jpg", "a_b.png", "a_b.jpg", "a b.jpg", "A/b.jpg", ".jpg", "../a.jpg", "ä.jpg", "x" * 300 + ".jpg"]
    names = [identifier(path) for path in paths]
    assert len({name.lower() for name in names}) == len(paths)
    for name in names:
        assert name.isascii()
        assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
        assert not name.startswith((".", "-"))
        assert 0 < len(name) <= 100


def test_images_are_found_below_whatever_the_case_of_their_ending(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/c.tiff", "a/d.Png", "a/e.txt", ".hidden.jpg", ".thumbs/f.jpg", "g"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_images(tmp_path) == ["a/c.tiff", "a/d.Png", "b.JPG"]
    assert find_images(tmp_path / "absent") == []


def test_mode_comes_from_the_header_alone(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "grey.jpg")
    Image.new("RGB", (8, 8)).save(tmp_path / "colour.webp")
    assert image_mode(tmp_path / "colour.webp") == "RGB"
    whole = (tmp_path / "grey.jpg").read_bytes()
    (tmp_path / "grey.jpg").write_bytes(whole[: len(whole) // 2])  # pixels are missing, the header is whole
    assert image_mode(tmp_path / "grey.jpg") == "L"
    (tmp_path / "none.jpg").write_text("no image")
    assert image_mode(tmp_path / "none.jpg") is None
    assert image_mode(tmp_path / "absent.jpg") is None


def test_same_bytes_keep_the_first_or_none(tmp_path: Path) -> None:
    for name, content in {"a": b"1", "b": b"1", "c": b"2", "d": b"22", "e": b"22", "f": b"1"}.items():
        (tmp_path / name).write_bytes(content)
    labels = {"a": "smile", "b": "smile", "c": "smile", "d": "smile", "e": "frown", "f": "smile"}
    assert drop_same_bytes(tmp_path, labels) == {
        "b": "same bytes as a and f",
        "f": "same bytes as a and b",
        "d": "same bytes as e, with another label",
        "e": "same bytes as d, with another label",
    }
    assert labels == {"a": "smile", "c": "smile"}


def test_values_of_a_list_stay_texts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes('\ufeffpath,n\r\n"a,b.jpg",007\r\n\r\nNA,\r\n'.encode())
    table = read_list(tmp_path / "a.csv", ["path"])
    assert table.to_dict("list") == {"path": ["a,b.jpg", "NA"], "n": ["007", ""]}
    assert list(read_list(tmp_path / "a.csv", ["path"], keep=["n"]).columns) == ["n"]


def test_header_may_be_left_out_where_that_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x.jpg,1\ny.jpg,2\n")
    assert list(read_list(tmp_path / "a.csv", ["path", "n"], header_optional=True)["n"]) == ["1", "2"]
    with pytest.raises(UserError, match="column 'path' is missing"):
        read_list(tmp_path / "a.csv", ["path", "n"])
    (tmp_path / "a.csv").write_text("path,n\nx.jpg,1\n")
    assert list(read_list(tmp_path / "a.csv", ["path", "n"], header_optional=True)["n"]) == ["1"]


def test_name_twice_in_a_header_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path,path\nx.jpg,y.jpg\n")
    with pytest.raises(UserError, match="occurs twice"):
        read_list(tmp_path / "a.csv", ["path"])


def test_listing_refuses_an_id_twice() -> None:
    row = {"id": "a", "split": "train", "source": "a.jpg", "expression": "", "identity": ""}
    with pytest.raises(ValueError, match="'a' occurs twice"):
        make_listing([row, row], [])
    assert list(make_listing([], []).table.columns) == ["id", "split", "source", "expression", "identity"]


def test_a_class_or_a_split_that_is_missing_is_refused_and_gaps_are_told() -> None:
    table = pd.DataFrame({"split": ["train", "train", "val", "test"], "expression": ["a", "b", "a", "b"]})
    require_faces(table, [], "here", ["a", "b"])
    assert gaps(table) == [
        "the split val has no image of b, so edits of these classes are not measured",
        "the split test has no image of a, so edits of these classes are not measured",
    ]
    with pytest.raises(UserError, match=r"no images of the class 'c' are left .*\(a 1, b 1, c 0\).* Left out: 1 x why"):
        require_faces(table, [("x", "listing", "why")], "here", ["a", "b", "c"])
    with pytest.raises(UserError, match="only one class is left, a"):
        require_faces(table.assign(expression="a"), [], "here")
    with pytest.raises(UserError, match=r"a split is empty \(train 2, val 0, test 1 images\)"):
        require_faces(table[table["split"] != "val"], [], "here")
    require_faces(table.assign(expression=""), [], "here")  # who reads no label needs none


def test_fields_separated_by_something_else_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path;expression\nx.jpg;smile\n")
    with pytest.raises(UserError, match="Separate the fields with commas, not ';'"):
        read_list(tmp_path / "a.csv", ["path", "expression"])
