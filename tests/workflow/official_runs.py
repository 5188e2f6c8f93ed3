"""Every licensed dataset, in its official layout, made of real photographs, through the whole workflow at scale smoke.

    python -m tests.workflow.official_runs PHOTOGRAPHS FOLDER [LAYOUT ...]

PHOTOGRAPHS is a tar archive with photographs of faces as .jpg in it, one face each, such as that of the dataset
open_faces. For every layout FOLDER gets a copy of this project with the archive in data/raw, faults planted; there
`snakemake results/<entry>/hier_seg/metrics.json` runs, for CelebA also methods that are told attributes, and faces and
quarantine are compared with what was planted. Minutes for each; the exit status is 1 when anything is not as planned.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from mimik.faces.photograph import read_photograph
from mimik.faces.reconstruction.reconstruct import Reconstructor, Rejected
from mimik.storage.files import read_json
from tests import official_layouts
from tests.official_layouts import Photographs, Planted
from tests.workflow.conftest import ROOT, WORKFLOW

LAYOUTS: Mapping[str, Callable[[Path, Photographs], Planted]] = {
    "affectnet_csv": lambda raw, photographs: official_layouts.affectnet_csv(raw, photographs, each=8),
    "affectnet_npy": lambda raw, photographs: official_layouts.affectnet_npy(raw, photographs, each=8),
    "rafd": lambda raw, photographs: official_layouts.rafd(raw, photographs, models=13, gazes=3, held_out=(3, 7)),
    "cfee": official_layouts.cfee,
    "celeba": lambda raw, photographs: official_layouts.celeba(raw, photographs, each=10),
    "celeba_hq": lambda raw, photographs: official_layouts.celeba_hq(raw, photographs, each=10),
    "celebamask_hq": lambda raw, photographs: official_layouts.celebamask_hq(raw, photographs, each=10),
}

METHODS: Mapping[str, Sequence[str]] = {"celeba": ("hier_seg", "secgan_attributes", "attgan_attributes")}
"""What runs on a layout; `hier_seg` on the others."""


def faces(archive: Path) -> Iterator[Image.Image]:
    """The photographs of a tar archive, in its order."""
    with tarfile.open(archive) as opened:
        for member in opened:
            if member.isfile() and member.name.endswith(".jpg") and (content := opened.extractfile(member)):
                with Image.open(content) as picture:
                    yield picture.convert("RGB")


def run(layout: str, photographs: Path, folder: Path, cores: int) -> bool:
    """One layout in a project of its own; whether all is as planted."""
    folder.mkdir(parents=True)
    for name in (*WORKFLOW, "params.yaml", "params", "src/mimik"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    # The made CelebA plants a fault in the list of the official partition.
    params = (folder / "params.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(params.replace("split: attgan ", "split: official "), encoding="utf-8")
    reconstruct = Reconstructor([256, 64])

    def accepted(path: Path) -> bool:
        return not isinstance(reconstruct(read_photograph(path)), Rejected)

    raw = folder / "data" / "raw" / layout.partition("_csv")[0].partition("_npy")[0]
    planted = LAYOUTS[layout](raw, Photographs(faces(photographs), accepted))
    targets = [f"results/{planted.entry}/{method}/metrics.json" for method in METHODS.get(layout, ("hier_seg",))]
    start = time.monotonic()
    with (folder / "run.log").open("w") as log:
        done = subprocess.run(
            ["snakemake", "--cores", str(cores), *targets, "--config", "scale=smoke"],
            cwd=folder, env={**os.environ, "PYTHONPATH": ""}, stdout=log, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    print(f"{layout}: {time.monotonic() - start:.0f} s, exit status {done.returncode}", flush=True)
    if done.returncode:
        print(f"  see {folder / 'run.log'}")
        return False
    told = planted.differences(folder / "data" / "prepared" / planted.entry)
    told += [fault for target in targets if (fault := unmeasured(folder / target))]
    for split in ("train", "val", "test"):
        counts = {label: count for (part, label), count in sorted(planted.counts.items()) if part == split}
        print(f"  planted  {split}: {sum(counts.values())} faces, {counts}")
    print(f"  planted  quarantine: {len(planted.quarantine)} files")
    for line in told or ["as planted"]:
        print(f"  found    {line}", flush=True)
    return not told


def unmeasured(path: Path) -> str:
    """What a metrics.json should hold and does not: accuracy of the edits, of expressions or of attributes."""
    name = "attribute_accuracy" if path.parent.name.endswith("_attributes") else "eea"
    entry: dict[str, Any] = read_json(path)["metrics"][name]
    if "value" not in entry:
        return f"{path.parent.name}: {name} skipped: {entry['skipped']}"
    print(f"  measured {path.parent.name}: {name} of {entry['n']} edits by {entry['extractor']}: {entry['value']:.3f}")
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="tar archive of photographs, one face each")
    parser.add_argument("folder", type=Path, help="a new folder for the projects")
    parser.add_argument("layouts", nargs="*", metavar="layout", help=f"of {', '.join(LAYOUTS)} (default: all)")
    parser.add_argument("--cores", type=int, default=1)
    chosen = parser.parse_args()
    if unknown := set(chosen.layouts) - LAYOUTS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    results = [
        run(layout, chosen.photographs.resolve(), chosen.folder / layout, chosen.cores)
        for layout in chosen.layouts or LAYOUTS
    ]
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
