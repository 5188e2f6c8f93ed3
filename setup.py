"""Puts the files of a project, which stand outside of the package, into wheels; all else is in pyproject.toml."""

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "src"))

from mimik.settings.shipped import SHIPPED, packaged  # noqa: E402


class WithProject(build_py):
    """Copies what `mimik init` needs to `mimik/project`. An editable installation reads it where it stands."""

    def run(self) -> None:
        """As always, and the files of a project."""
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib) / "mimik" / "project"
        shutil.rmtree(folder, ignore_errors=True)
        for name in SHIPPED:
            source, target = ROOT / name, folder / packaged(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                left_out = shutil.ignore_patterns("__pycache__", "stages.json")
                shutil.copytree(source, target, ignore=left_out, dirs_exist_ok=True)
            else:
                shutil.copyfile(source, target)


setup(cmdclass={"build_py": WithProject})
