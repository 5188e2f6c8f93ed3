import sys
from pathlib import Path

import pytest

from mimik.errors import UserError
from mimik.settings import external
from mimik.settings.declarations import declared_in
from mimik.settings.modules import fault, named
from mimik.settings.outside import VARIABLE, named_in_file
from mimik.settings.sources import outside_files, source_files

PACKAGE = Path(__file__).parents[2] / "src" / "mimik"
METRIC = (
    "NAMES, PROTOCOL, HIGHER_IS_BETTER, UNIT, FORMAT = ('x',), '', {}, {}, {}\n\n\ndef compute(m):\n    return {}\n"
)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one; what is imported from it is forgotten afterwards."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.delenv(VARIABLE, raising=False)
    return folder


def test_a_folder_beside_params_is_a_package(project: Path) -> None:
    write(project, {"guests/brightness.py": METRIC})
    assert fault("metrics", "guests.brightness") is None
    assert "guests" not in sys.modules
    assert named("metrics", "guests.brightness", "params.yaml").__file__ == str(project / "guests/brightness.py")
    assert sys.path[-1] == str(project)  # last: nothing here takes the place of a library


def test_an_installed_package_is_found(project: Path, tmp_path: Path) -> None:
    write(tmp_path / "site", {"guests/brightness.py": METRIC})
    sys.path.insert(0, str(tmp_path / "site"))
    file = tmp_path / "site/guests/brightness.py"
    assert named("metrics", "guests.brightness", "params.yaml").__file__ == str(file)
    assert source_files(PACKAGE, "guests.brightness") == {"guests:brightness.py": file}


def test_a_package_that_is_here_and_installed_is_refused(project: Path, tmp_path: Path) -> None:
    for folder in (project, tmp_path / "site"):
        write(folder, {"guests/brightness.py": METRIC})
    sys.path.insert(0, str(tmp_path / "site"))
    with pytest.raises(
        UserError, match=r"'guests' is both beside params\.yaml \(.*\) and an installed package \(.*site"
    ):
        named("metrics", "guests.brightness", "params.yaml")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("os.path", "'os' is a module of Python's standard library. Rename the package"),
        ("mimik.methods.stargan", "a module of mimik itself is named without a dot: stargan"),
        ("nowhere.at_all", "expected nowhere/at_all.py or nowhere/at_all/__init__.py beside params.yaml"),
        ("../x.y", "is not the name of a module"),
        ("a..b", "is not the name of a module"),
        (".a", "is not the name of a module"),
        ("a.b\n", "is not the name of a module"),
    ],
)
def test_other_names_are_refused(project: Path, name: str, told: str) -> None:
    before = set(sys.modules)
    with pytest.raises(UserError, match=r"^here: ") as caught:
        named("methods", name, "here")
    assert told in str(caught.value)
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import no_such\n", "guests/broken.py, line 1: ModuleNotFoundError: No module named 'no_such'."),
        ("x = 1\ny = 1 / 0\n", "guests/broken.py, line 2: ZeroDivisionError: division by zero."),
        ("def f(:\n", "guests/broken.py, line 1: SyntaxError: "),
        ("import sys\nsys.exit(3)\n", "guests/broken.py, line 2: SystemExit: 3."),
        ("from guests.inner import f\nf()\n", "guests/inner.py, line 2: KeyError: 'x'."),
    ],
)  # fmt: skip
def test_a_module_that_cannot_be_imported_is_one_message_with_file_and_line(
    project: Path, text: str, told: str
) -> None:
    write(project, {"guests/broken.py": text, "guests/inner.py": "def f():\n    {}['x']\n"})
    with pytest.raises(UserError, match=r"^params\.yaml: guests\.broken cannot be imported: ") as caught:
        named("metrics", "guests.broken", "params.yaml")
    assert told in str(caught.value)


def test_what_a_module_lacks_is_told_with_what_is_expected(project: Path) -> None:
    write(project, {"guests/half.py": "class Method:\n    pass\n\nTRAINING, CONDITION = {}, {}\n"})
    with pytest.raises(UserError) as caught:
        named("methods", "guests.half", "params.yaml: methods.mine.method")
    told = str(caught.value)
    assert told.startswith(
        f"params.yaml: methods.mine.method: guests.half ({project / 'guests/half.py'}) lacks `Config`"
    )
    assert "`Config`, a frozen dataclass: its settings" in told
    assert "`Method.translate`, translate(images, source, target)" in told
    assert "TRAINING" not in told


def test_another_module_of_the_same_name_is_not_taken_for_it(project: Path, tmp_path: Path) -> None:
    write(project, {"guests/brightness.py": METRIC})
    named("metrics", "guests.brightness", "here")
    (project / "guests").rename(tmp_path / "gone")
    write(project, {"guests/brightness/__init__.py": METRIC})
    with pytest.raises(UserError, match="is already imported under this name"):
        external.load("guests.brightness", "here")


def test_a_file_of_results_names_nothing_that_params_does_not(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, {"guests/evil.py": "from pathlib import Path\nPath('ran').touch()\n"})
    for name in ("guests.evil", "os.path", "subprocess.Popen"):
        with pytest.raises(UserError, match=f"^config.json: module: names '{name}'.*params.yaml.*{VARIABLE}={name}"):
            named_in_file("methods", name, "config.json: module")
    assert not (project / "ran").exists()
    monkeypatch.setenv(VARIABLE, "guests.evil")
    with pytest.raises(UserError, match=r"guests\.evil \(.*\) lacks `Config`"):
        named_in_file("methods", "guests.evil", "config.json: module")
    assert (project / "ran").exists()


def test_imports_are_followed_in_the_package_beside_it_and_into_mimik(project: Path) -> None:
    write(
        project,
        {
            "guests/__init__.py": "import guests.always\n",
            "guests/always.py": "",
            "guests/start.py": "from . import near\nfrom .deep.inner import f\nimport beside, numpy, json\n",
            "guests/near.py": "from mimik.labels import EXPRESSIONS\n",
            "guests/deep/inner.py": "from ..far import g\n",
            "guests/far.py": "",
            "guests/unused.py": "",
            "beside.py": "import guests.unused_too\n",
            "json.py": "",
        },
    )
    (project / "guests/near.json").write_text("{}")
    found = source_files(PACKAGE, "guests.start")
    assert list(found) == [
        "beside:beside.py", "guests:__init__.py", "guests:always.py", "guests:deep/inner.py", "guests:far.py",
        "guests:near.json", "guests:near.py", "guests:start.py", "labels.py",
    ]  # fmt: skip
    assert outside_files("guests.start").roots == {"guests": project / "guests", "beside": project / "beside.py"}


def test_settings_are_read_from_the_source_of_the_package(project: Path) -> None:
    write(
        project,
        {
            "guests/method.py": (
                "import torch\nfrom dataclasses import dataclass\nfrom .constants import WIDTH\n"
                "raise RuntimeError('imported')\n\n\n@dataclass(frozen=True)\nclass Config:\n    width: int = WIDTH\n"
            ),
            "guests/constants.py": "WIDTH = 7\n",
        },
    )
    assert declared_in("guests.method", "Config")().width == 7
    write(project, {"guests/constants.py": "WIDTH = 8\n\n# longer\n"})
    assert declared_in("guests.constants", "WIDTH") == 8
