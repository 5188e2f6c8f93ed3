"""The rules of docs/architecture.md that code can check: order of imports, names that modules offer, sizes."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from mimik.components.conditions import ConditionConfig
from mimik.settings.modules import FOLDERS
from mimik.settings.reading import read

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mimik"
NO_DATASETS = {"listing", "lists", "photographs", "tree", "celeba_lists", "released_depth"}
"""Modules of mimik.datasets that are not a dataset."""


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


@cache
def imported(path: Path) -> frozenset[str]:
    """Full names of everything that a file imports anywhere; `from x import y` gives `x.y`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def own_imports(name: str) -> set[str]:
    """Modules of mimik that a module imports, relative to the package."""
    found = set()
    for full in imported(MODULES[name]):
        parts = full.split(".")
        if parts[0] != "mimik":
            continue
        # Names of functions hang at the end: the longest part that is a module is meant.
        candidates = (".".join(parts[1:length]) for length in range(len(parts), 0, -1))
        found.add(next(candidate for candidate in candidates if candidate in MODULES))
    return found - {name, ""}


def children(folder: str) -> dict[str, set[str]]:
    """The modules and folders right in a folder ("" is mimik), each with those beside it that it imports."""
    depth = len(folder.split(".")) if folder else 0
    inside = [
        name for name in MODULES if name and name != folder and f"{name}.".startswith(f"{folder}." if folder else "")
    ]
    graph: dict[str, set[str]] = {name.split(".")[depth]: set() for name in inside}
    for name in inside:
        beside = {other for other in own_imports(name) if other in inside}
        graph[name.split(".")[depth]] |= {other.split(".")[depth] for other in beside} - {name.split(".")[depth]}
    return graph


def folders() -> list[str]:
    return ["", *(name for name, path in MODULES.items() if name and path.name == "__init__.py")]


def layers() -> dict[str, int]:
    """Row of each module or folder right in mimik in the table of docs/architecture.md, from the top."""
    table = _layers_text().split("```mermaid")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {
        name.removesuffix(".<name>"): position
        for position, row in enumerate(rows)
        for name in re.findall(r"`([^`]+)`", row)
    }


def _layers_text() -> str:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return text.split("## Layers, in import order")[1].split("## Contracts")[0]


def files_of_a_kind(kind: str) -> list[str]:
    """Names of the modules and packages right in the folder of a kind."""
    return sorted(name for name in children(FOLDERS[kind]))


def python_files() -> Iterator[Path]:
    for folder in ("src", "workflow", "benchmarks"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_every_module_belongs_to_a_layer_and_every_layer_exists() -> None:
    present = children("").keys()
    assert present - layers().keys() == set(), "add it to the table of layers in docs/architecture.md"
    assert layers().keys() - present == set(), "docs/architecture.md names a layer that does not exist"


def test_imports_follow_the_order_of_the_layers() -> None:
    order = layers()
    against = [
        f"mimik.{name} imports mimik.{other}"
        for name in MODULES
        for other in sorted(own_imports(name))
        # A module without a layer is reported by the test above.
        if order.get(name.split(".")[0], len(order)) < order.get(other.split(".")[0], 0)
    ]
    assert against == []


def test_no_modules_import_each_other() -> None:
    try:
        TopologicalSorter({name: own_imports(name) for name in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("folder", folders())
def test_what_stands_in_a_folder_forms_no_circle(folder: str) -> None:
    try:
        TopologicalSorter(children(folder)).prepare()
    except CycleError as error:
        pytest.fail(f"mimik.{folder}: " + " -> ".join(error.args[1]))


def test_the_hall_is_small() -> None:
    assert len([name for name in MODULES if name and "." not in name and MODULES[name].name != "__init__.py"]) <= 9


def test_every_folder_says_what_is_in_it() -> None:
    assert [name for name in folders() if not ast.get_docstring(ast.parse(MODULES[name].read_text()))] == []


def test_the_picture_shows_what_each_layer_is_built_on() -> None:
    graph = children("")

    @cache
    def below(name: str) -> frozenset[str]:
        return frozenset(graph[name].union(*(below(other) for other in graph[name])))

    arrows = {
        (name, other)
        for name, direct in graph.items()
        for other in direct
        if not any(other in below(between) for between in direct - {other})
    }
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)$", _layers_text().split("```mermaid")[1], re.MULTILINE))
    assert drawn == arrows


@pytest.mark.parametrize(("room", "shared"), [("methods", set()), ("datasets", NO_DATASETS)])
def test_methods_and_datasets_do_not_know_each_other(room: str, shared: set[str]) -> None:
    for name in set(files_of_a_kind(room)) - shared:
        modules = [module for module in MODULES if module.split(".")[:2] == [room, name]]
        inside = {other for module in modules for other in own_imports(module) if other.startswith(f"{room}.")}
        others = {other.split(".")[1] for other in inside} - {name} - shared
        assert others == set(), f"mimik.{room}.{name} imports {others}"


def test_only_tracking_imports_mlflow_and_nothing_imports_torchvision() -> None:
    for path in python_files():
        roots = {name.split(".")[0] for name in imported(path)}
        assert "torchvision" not in roots, path
        if path.parent != SOURCE / "tracking":
            assert "mlflow" not in roots, path


def test_pictures_are_opened_in_one_place_only() -> None:
    openers = {"Image.open", "PIL.Image.open", "cv2.imread", "plt.imread", "imageio.imread", "io.imread", "imread"}
    for path in python_files():
        if path != SOURCE / "storage" / "pictures.py":
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
            assert not openers & called, f"{path}: use mimik.storage.pictures.open_picture"


def test_no_pickle() -> None:
    for path in python_files():
        assert not {name.split(".")[0] for name in imported(path)} & {"pickle", "joblib", "dill"}, path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            called = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if called == "np.load":
                assert given.get("allow_pickle") == "False", f"{path}:{node.lineno}"
            if called == "torch.load":
                assert given.get("weights_only") == "True", f"{path}:{node.lineno}"


def test_messages_fill_their_placeholders() -> None:
    """A text in braces without an f before its string reaches the user as it stands."""
    unfilled = [
        f"{path}:{node.lineno}"
        for path in python_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
        for value in node.exc.args
        if re.search(r"\{[A-Za-z_]\w*\}", "".join(_plain_texts(value)))
    ]
    assert unfilled == []


def _plain_texts(value: ast.expr) -> list[str]:
    """The constant parts of a string, an f-string included."""
    parts = value.values if isinstance(value, ast.JoinedStr) else [value]
    return [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def test_no_file_is_long() -> None:
    long = {str(path): count for path in python_files() if (count := len(path.read_text().splitlines())) > 500}
    assert long == {}


def test_names_that_say_nothing_are_not_used() -> None:
    nameless = {"util", "utils", "helper", "helpers", "misc", "common", "base"}
    assert [name for name in MODULES if nameless & set(name.split("."))] == []


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in files_of_a_kind("datasets") if name not in NO_DATASETS])
def test_dataset_offers_the_names_of_the_contract(name: str) -> None:
    module = importlib.import_module(f"mimik.datasets.{name}")
    for text in ("LICENCE", "CITATION", "ACCESS"):
        assert isinstance(getattr(module, text), str)
        assert getattr(module, text)
    assert isinstance(module.RESTRICTED, bool)
    assert all({"description", "meaning"} <= option.keys() for option in module.OPTIONS.values())
    assert parameters(module.check) == ["raw", "options", "mirror"]
    assert parameters(module.fetch) == ["raw", "options", "mirror"]
    assert parameters(module.index) == ["raw", "options", "seed"]


def test_datasets_are_light_to_import() -> None:
    names = [name for name in files_of_a_kind("datasets") if name not in NO_DATASETS]
    statements = "; ".join(f"import mimik.datasets.{name}" for name in names)
    heavy = "{'torch', 'mediapipe', 'cv2', 'mlflow', 'face_alignment', 'matplotlib'}"
    command = f"import sys; {statements}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", files_of_a_kind("methods"))
def test_method_offers_the_names_of_the_contract(name: str) -> None:
    module = importlib.import_module(f"mimik.methods.{name}")
    assert module.Config.__dataclass_params__.frozen
    module.Config()  # the published settings are complete
    ConditionConfig(**module.CONDITION)
    assert parameters(module.Method) == ["config", "context"]
    assert parameters(module.Method.translate) == ["self", "images", "source", "target"]
    for update in ("discriminator", "generator"):
        assert parameters(getattr(module.Method, f"{update}_loss")) == ["self", "batch", "step"]
        assert parameters(getattr(module.Method, f"{update}_parameters")) == ["self"]
    assert parameters(module.Method.generator_state) == ["self"]
    assert parameters(module.Method.load_generator_state) == ["self", "state"]


@pytest.mark.parametrize("name", files_of_a_kind("guidance"))
def test_guide_offers_the_names_of_the_contract(name: str) -> None:
    module = importlib.import_module(f"mimik.guidance.{name}")
    assert module.Config.__dataclass_params__.frozen
    module.Config()
    assert parameters(module.Guide) == ["config", "context"]
    for update in ("discriminator", "generator"):
        assert parameters(getattr(module.Guide, f"{update}_loss")) == ["self", "batch", "step"]
        assert parameters(getattr(module.Guide, f"{update}_parameters")) == ["self"]


@pytest.mark.parametrize("name", files_of_a_kind("metrics"))
def test_metric_offers_the_names_of_the_contract(name: str) -> None:
    module = importlib.import_module(f"mimik.evaluation.metrics.{name}")
    assert module.NAMES
    assert isinstance(module.PROTOCOL, str)
    for facts in (module.HIGHER_IS_BETTER, module.UNIT, module.FORMAT):
        assert facts.keys() == set(module.NAMES)
    assert parameters(module.compute) == ["measurements"]


@pytest.mark.parametrize(
    ("kind", "verb", "name"),
    [(kind, verb, name) for kind, verb in (("tables", "build"), ("figures", "draw")) for name in files_of_a_kind(kind)],
)
def test_table_or_figure_offers_the_names_of_the_contract(kind: str, verb: str, name: str) -> None:
    module = importlib.import_module(f"mimik.{FOLDERS[kind]}.{name}")
    assert module.TITLE
    assert module.CAPTION
    assert {"method", "comparison"} >= module.PAGES
    assert parameters(getattr(module, verb)) == ["results", "settings"]


def test_entries_of_params_and_files_fit_together() -> None:
    params = read(ROOT / "params.yaml")[0]
    modules = {entry.get("dataset", name) for name, entry in params["datasets"].items()}
    assert modules == set(files_of_a_kind("datasets")) - NO_DATASETS
    assert {entry["method"] for entry in params["methods"].values()} == set(files_of_a_kind("methods"))
    assert set(params["evaluation"]["metrics"]) == set(files_of_a_kind("metrics"))
