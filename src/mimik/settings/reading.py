"""params.yaml and the files of the folder params/ beside it, read as one: the only reader of settings.

params.yaml holds what people change, the folder the long tables. Every file `params/<name>.yaml` is read; which file a
setting stands in makes no difference to it. A group (`methods`) may be spread over files. An entry (`methods.stargan`)
is in one of them, as a whole: nobody would see all of an entry in pieces.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimik.errors import UserError, unknown_name
from mimik.storage.records import shown
from mimik.storage.yaml_file import read_yaml

FILE = Path("params.yaml")
"""What people change, relative to the project's folder. The other files stand in the folder `params` beside it."""

MISSING = "Run mimik in the project folder, which contains it, or make a new project: `mimik init DIR`."


@dataclass(frozen=True)
class Origins:
    """Which file a setting stands in, for messages.

    Attributes:
        files: all that hold settings, params.yaml first, then those of params/ by name.
        places: the files of every group ("methods") and the one file of every entry of a group ("methods.stargan").
    """

    files: tuple[Path, ...] = (FILE,)
    places: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)

    def refusal(self, faults: Iterable[str]) -> UserError:
        """The error that lists faults, each of which starts with its place ("scales.demo.training: ..."), by file."""
        by_file: dict[tuple[Path, ...], list[str]] = {}
        for fault in faults:
            group, _, rest = fault.partition(":")[0].partition(".")
            entry = f"{group}.{rest.partition('.')[0]}"
            files = self.places.get(entry) or self.places.get(group) or self.files[:1]
            by_file.setdefault(files, []).append(fault)
        order = sorted(by_file, key=lambda files: self.files.index(files[0]))
        return UserError(
            "\n".join(
                "\n  ".join(
                    [f"{', '.join(map(str, files))}: {len(by_file[files])} setting(s) cannot be used.", *by_file[files]]
                )
                for files in order
            )
        )


def files_of(path: Path | str = FILE) -> list[Path]:
    """params.yaml and the files beside it that belong to it, by name; it alone where there is no folder params/.

    Raises:
        UserError: something in the folder looks like settings and is none: `<name>.yml`, or another folder.
    """
    path = Path(path)
    folder = path.with_suffix("")
    try:
        there = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except FileNotFoundError:
        return [path]
    except OSError as error:
        raise UserError(f"{folder}: expected a readable folder, but: {error.strerror}.") from error
    for entry in there:
        if entry.is_dir() or (entry.suffix.lower() in (".yml", ".yaml") and entry.suffix != ".yaml"):
            raise UserError(f"{entry}: expected files <name>.yaml in this folder, which are read with {path.name}.")
    return [path, *(entry for entry in there if entry.suffix == ".yaml")]


def read(path: Path | str = FILE, missing: str = MISSING) -> tuple[dict[str, Any], Origins]:
    """Read all settings, without checking what they mean (`mimik.settings.params.validate`).

    Args:
        path: params.yaml.
        missing: what to do when there is none.

    Returns:
        the settings, a dict by group; their `Origins`.

    Raises:
        UserError: params.yaml is missing; a file is no strict YAML (`read_yaml`) or holds no groups; something is set
            in two files.
    """
    merged: dict[str, Any] = {}
    places: dict[str, tuple[Path, ...]] = {}
    files: list[Path] = []
    for file in files_of(path):
        values = read_yaml(file, missing)
        if values is None and files:  # nothing but comments
            continue
        if not isinstance(values, Mapping):
            raise UserError(f"{file}: expected groups of settings (`methods:`, `scales:`, ...), got {shown(values)}.")
        files.append(file)
        for group, value in values.items():
            there = merged.get(group)
            if group in merged and not (isinstance(there, dict) and isinstance(value, dict)):
                raise _twice(file, group, places[group])
            if isinstance(value, dict):
                for name in value:
                    if f"{group}.{name}" in places:
                        raise _twice(file, f"{group}.{name}", places[f"{group}.{name}"])
                    places[f"{group}.{name}"] = (file,)
                value = {**(there or {}), **value}
            merged[group] = value
            places[group] = (*places.get(group, ()), file)
    return merged, Origins(tuple(files), places)


def group_faults(values: Mapping[str, Any], schema: Mapping[str, Any], origins: Origins) -> list[str]:
    """Groups that are missing from all settings or that nobody reads, by the schema of params.yaml."""
    absent = [group for group in schema["required"] if group not in values]
    folder = origins.files[0].with_suffix("")
    where = f"{origins.files[0]} or in a .yaml file of the folder {folder}/ beside it"
    found = [
        f"{group}: nothing reads this. {unknown_name(group, schema['properties'])}"
        for group in values
        if group not in schema["properties"]
    ]
    if absent:
        there = "" if len(origins.files) > 1 else ", of which there are none"
        found.append(f"missing: {', '.join(absent)}. Each has to be in {where}{there}.")
    return found


def _twice(file: Path, place: str, others: tuple[Path, ...]) -> UserError:
    return UserError(f"{file}: {place} is already set in {others[0]}. Keep one of the two.")
