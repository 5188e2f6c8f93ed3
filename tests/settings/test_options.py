"""docs/options.md is what the code says, and leaves nothing open."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from mimik.faces.prepared.settings import Settings
from mimik.settings import modules, options
from mimik.settings.checks import _words
from mimik.settings.meanings import meanings
from mimik.settings.params import SCHEMA
from mimik.storage.files import read_json
from tests.settings.test_checks import DECLARED

ROOT = Path(__file__).parents[2]
SECTIONS = list(options.sections(ROOT))
SCHEMATA = read_json(ROOT / SCHEMA)["$defs"]


def test_the_page_is_the_one_that_the_command_makes() -> None:
    """In a process of its own: PyTorch is not imported, and modules that were imported before change nothing."""
    program = """
import sys
from pathlib import Path
from mimik.settings import options
print(options.page(Path(".")), end="")
assert not {"torch", "numpy", "pandas"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (ROOT / options.PAGE).read_text(encoding="utf-8") == done.stdout, "run `mimik params --options`"
    assert options.page(ROOT) == done.stdout


@pytest.mark.parametrize("section", SECTIONS, ids=[section.title for section in SECTIONS])
def test_no_option_is_without_type_default_or_meaning(section: options.Section) -> None:
    for row in section.rows:
        assert all(row), f"{section.title}: {row.name}"
        # A table is broken by a bar, and a text about Python is none about YAML.
        for cell in (row.kind, row.default, row.meaning):
            assert not re.search(r"(?<!\\)\||\bNone\b|\n", cell), f"{section.title}: {row.name}: {cell}"
    assert len({row.name for row in section.rows}) == len(section.rows)


def test_every_dataclass_of_settings_has_a_section_with_all_its_fields() -> None:
    found = {frozenset(row.name for row in section.rows) for section in SECTIONS}
    for module, name in DECLARED:
        fields = frozenset(getattr(import_module(f"mimik.{module}"), name).__dataclass_fields__)
        assert fields in found, f"{module}.{name}"


def test_links_lead_to_headings() -> None:
    text = options.page(ROOT)
    headings = [options.anchor(title) for title in re.findall(r"^#+ (.+)$", text, re.M)]
    assert len(set(headings)) == len(headings)
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert set(links) <= set(headings)
    assert set(headings) - set(links) == {"options"}


def test_every_option_that_a_dataset_reads_is_there_and_the_other_way_round() -> None:
    shared = {key for key, value in SCHEMATA["preparation"]["properties"].items() if "meaning" in value}
    assert set(options.dataset_options()) == set(modules.names("datasets")) & _with_index()
    for module, part in options.dataset_options().items():
        _, ends, _ = _words(module)
        own = set(part)
        whole = ROOT / "src/mimik/datasets" / module
        text = "".join(
            file.read_text() for file in (whole.rglob("*.py") if whole.is_dir() else [whole.with_suffix(".py")])
        )
        asked = set(re.findall(r"options(?:\.get\(|\[|, )\"([a-z][a-z0-9_]*)\"", text)) - {module}
        asked |= {"split"} if re.search(r"split_(option|choice)\(", text) else set()
        assert asked <= own | shared, module
        for key in own:
            # Once in OPTIONS itself.
            read = text.count(f'"{key}"') > 1 or key in asked or key.endswith(ends)
            assert read, f"{module}: {key}"


def _with_index() -> set[str]:
    """Datasets, not what serves several of them."""
    return {name for name in modules.names("datasets") if hasattr(import_module(f"mimik.datasets.{name}"), "index")}


def _defaults(part: dict[str, Any]) -> dict[str, Any]:
    """Defaults that are values, not phrases in place of them."""
    values = {key: option["default"] for key, option in part.items() if "default" in option}
    return {key: value for key, value in values.items() if value != "none" and " " not in str(value)} | {
        key: value for key, value in values.items() if isinstance(value, dict | list)
    }


def test_defaults_of_a_preparation_are_those_of_the_code() -> None:
    from mimik.faces.action_units.extractors import Choice

    given = _defaults(SCHEMATA["preparation"]["properties"])
    assert {"masks", "landmarks", "reconstruction", "annotations", "grey", "quality"} <= set(given)
    needed = {"sizes": [64], "annotations": given["annotations"]}
    assert Settings.of("x", "folder", needed | given) == Settings.of("x", "folder", {"sizes": [64]})
    assert given["openface_confidence"] == import_module("mimik.faces.action_units.extractors").CONFIDENCE
    assert Choice.of("x", {}, ROOT).extractor == SCHEMATA["preparation"]["properties"]["action_units"]["default"]


@pytest.mark.parametrize("name", ["affectnet", "celeba", "cfee", "open_faces", "rafd"])
def test_defaults_of_a_dataset_are_those_of_the_code(name: str) -> None:
    read = import_module(f"mimik.datasets.{name}")._options
    given = _defaults(options.dataset_options()[name])
    assert given
    assert read(given) == read({})


def test_texts_are_followed_to_where_they_lead() -> None:
    own = meanings("methods.hier_seg", "Config")
    assert own["local_conv_dim"].startswith("of the parts' generators: width of the first layer")
    critic = meanings("components.adversary", "AdversaryConfig")
    assert critic["negative_slope"] == "of the leaky ReLUs"
    assert critic["lambda_classification_generator"].endswith("empty: the same")
    names = meanings("pretraining.classifier", "ClassifierConfig")["names"]
    assert names == "which attributes; empty: all that the dataset has. Not for expressions, which are its classes"
    noise = meanings("pretraining.reader", "ReaderConfig")["noise"]
    assert noise.startswith("largest standard deviation of the added noise") and noise.endswith(
        "belong to the identity"
    )


@pytest.mark.parametrize(
    ("value", "told"),
    [(True, "true"), (5e-6, "5.0e-6"), (1e-4, "0.0001"), ((0.5, 0.999), "[0.5, 0.999]"), ({"a": (1,)}, "{a: [1]}")],
)
def test_defaults_are_written_as_in_yaml(value: Any, told: str) -> None:
    assert options._yaml(value) == told
