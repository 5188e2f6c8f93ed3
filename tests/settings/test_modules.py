import sys

import pytest

from mimik.errors import UserError, unknown_name
from mimik.settings.modules import named, names
from mimik.settings.outside import named_in_file


def test_the_modules_of_a_room_are_its_files() -> None:
    assert {"stargan", "hier_seg"} <= set(names("methods"))
    assert "synthetic" in names("datasets")  # a folder
    assert "__init__" not in names("methods")


@pytest.mark.parametrize("name", ["os", "json", "stargan.Config", "../methods/stargan", "", None, 5, "__init__", [1]])
def test_a_name_from_a_file_is_imported_only_if_its_room_has_it(name: object) -> None:
    before = set(sys.modules)
    with pytest.raises(UserError, match=r"config\.json: module: "):
        named_in_file("methods", name, "config.json: module")
    assert set(sys.modules) == before


def test_a_module_is_found_by_its_name() -> None:
    assert named("metrics", "eea", "params.yaml").__name__ == "mimik.evaluation.metrics.eea"


def test_unknown_names_get_the_nearest_and_all_of_a_few() -> None:
    assert unknown_name("happy", ["anger", "happiness"]) == "Known: anger, happiness. Did you mean happiness?"
    assert unknown_name("zzz", ["b", "a"]) == "Known: a, b."
    many = [f"hier_seg_{number}" for number in range(50)] + ["stargan"]
    told = unknown_name("stargun", many)
    assert told == "Nearest of 51: stargan."
    assert unknown_name("Hier_seg_7x", many).startswith("Nearest of 51: hier_seg_7")
    assert unknown_name("zzz", many) == "None of the 51 names is similar."
    assert unknown_name(None, []) == "Known: none."
