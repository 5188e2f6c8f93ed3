"""The files of a project that come with mimik: settings, workflow, DVC's stages; and a new project made of them.

In a clone of the repository they stand in its own folders. A wheel has the same files in the folder `project` of the
package, where setup.py puts them when the wheel is built.
"""

import shutil
import subprocess
from pathlib import Path

from mimik.errors import UserError
from mimik.storage.files import write_text

COPIED = (
    *("params.yaml", "params", "profiles", "dvc.yaml", ".dvc/config"),
    *(".dvcignore", ".gitignore", "workflow/nothing.txt"),
)
"""What a new project gets of its own, to change at will."""

SHIPPED = (*COPIED, "Snakefile", "workflow", "requirements.lock")
"""What a wheel contains, files and folders. Rules and scripts are not copied into projects, which run the installed."""

PACKAGE = Path(__file__).parents[1]

SNAKEFILE = """\
# The workflow of the installed mimik, for the settings of this project: params.yaml and the files of params/.
# Rules of your own may stand at the end.
from mimik.settings.shipped import shipped


include: str(shipped("Snakefile"))


localrules:
    project,


# What `snakemake` without a target makes: the experiments of params.yaml, and the report.
rule project:
    default_target: True
    input:
        rules.all.input,
"""
"""Snakefile of a new project."""


def packaged(name: str) -> str:
    """The name that something has in a wheel: without a dot before it, because DVC, which watches the package, refuses
    to look into a folder with a .dvcignore.
    """
    return "/".join(f"dot{part}" if part[0] == "." else part for part in name.split("/"))


def shipped(name: str) -> Path:
    """Path of a file or folder that comes with mimik, `Snakefile` for instance.

    Raises:
        UserError: it is not there: mimik was installed in a way that leaves out its files.
    """
    places = (PACKAGE / "project" / packaged(name), PACKAGE.parents[1] / name)
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise UserError(
            f"{name}: neither {' nor '.join(map(str, places))} is there. Install mimik from its wheel or from a "
            "clone of its repository."
        )
    return found


def new_project(folder: Path) -> list[str]:
    """Make a project: `COPIED`, a Snakefile that runs the installed workflow, and a git repository where there is none.

    The stages that dvc.yaml loads are not written (`mimik.settings.stages.write_table`).

    Args:
        folder: new or empty, or with files of other names.

    Returns:
        what is not as it should be, sentences.

    Raises:
        UserError: one of the files is there, `folder` is a file, or it is in a project or repository of mimik.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; expected a folder for the new project.")
    there = [name for name in (*COPIED, "workflow", "Snakefile", "src/mimik") if (folder / name).exists()]
    if there:
        raise UserError(f"{folder}: already contains {', '.join(there)}. Name a new folder, or move them away.")
    for name in COPIED:
        source, target = shipped(name), folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    write_text(folder / "Snakefile", SNAKEFILE)
    return _under_git(folder)


def _under_git(folder: Path) -> list[str]:
    """Make a git repository of the folder unless it is in one; DVC asks for one."""
    try:
        inside = subprocess.run(["git", "-C", str(folder), "rev-parse"], capture_output=True, check=False)
        if inside.returncode == 0:
            return []
        made = subprocess.run(["git", "init", "--quiet", str(folder)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ["git is not installed: DVC cannot record what is made here."]
    return [f"git made no repository here: {made.stderr.strip()}"] if made.returncode else []
