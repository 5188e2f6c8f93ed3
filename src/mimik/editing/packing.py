"""`mimik models pack`: a trained method as the file that a maintainer uploads, and its entry for the list."""

import gzip
import io
import re
import tarfile
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from mimik.editing.catalogue import Archive
from mimik.editing.exporting import export
from mimik.errors import UserError
from mimik.settings.params import Params
from mimik.storage.files import atomic_path, file_sha256
from mimik.storage.records import read_record

FIGURES = ("eea", "truth_psnr", "identity_loss")
"""Measures that the list shows, where a model has them."""

RENDERED = "Trained on rendered faces only; no good on photographs."


def pack(name: str, result: Path, output: Path, params: Params, *, half: bool = False) -> str:
    """Write `<output>/<name>.tar.gz`, with the files of an exported folder.

    The same results give the same bytes.

    Args:
        name: of the model in the list: small letters, digits and dashes.
        result: results/<dataset>/<method>, evaluated.
        output: the folder for the archive.
        params: params.yaml of the project, which knows the licences of datasets.
        half: see `mimik.editing.exporting.export`.

    Returns:
        the entry of the list, YAML; its address is for who uploads the file to fill in.

    Raises:
        UserError: the method was not measured, was trained on anything but rendered faces, or its archive exists.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise UserError(f"{name}: expected a name of small letters, digits and single dashes.")
    archive = output / Archive.name(name)
    if archive.exists():
        raise UserError(f"{archive}: already exists. Delete it, or name another folder.")
    config = read_record(result / "config.json", "method", ("dataset", "method", "scale", "image_size", "run_key"))
    if not (config.get("trained_on") or {}).get("rendered"):
        raise UserError(
            f"{result}: was not trained on rendered faces, and only such models are given away: a model can reproduce "
            "faces that it was trained on."
        )
    metrics = read_record(result / "metrics.json", "metrics", ("metrics", "git_commit"))
    with TemporaryDirectory(prefix="mimik-") as temporary:
        folder = Path(temporary) / name
        with redirect_stdout(io.StringIO()):  # nothing is printed beside the entry
            export(result, params, folder=folder, half=half, graph=False)
        terms = read_record(folder / "config.json", "method", ("exported",))["exported"]
        if terms["restricted"]:
            raise UserError(f"{result}: may not be passed on. {terms['reason']}")
        files = sorted(folder.iterdir())
        digests = {file.name: file_sha256(file) for file in files}
        output.mkdir(parents=True, exist_ok=True)
        with atomic_path(archive) as written:
            written.write_bytes(_archived(name, files))
    measured = {key: value["value"] for key in FIGURES if (value := metrics["metrics"].get(key)) and "value" in value}
    about = {
        **{key: config[key] for key in ("dataset", "method", "scale", "image_size")},
        "commit": str(metrics["git_commit"]),
        "terms": terms["licence"],
        "note": RENDERED,
        "figures": {key: round(value, 4) for key, value in measured.items()},
        "files": digests,
        "archive": {"bytes": archive.stat().st_size, "sha256": file_sha256(archive), "address": None},
    }
    return yaml.safe_dump({name: about}, sort_keys=False, width=110)


def _archived(name: str, files: list[Path]) -> bytes:
    """A tar.gz of files in one folder that says nothing of when and by whom it was made."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9, mtime=0, filename="") as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for file in files:
            member = tarfile.TarInfo(f"{name}/{file.name}")
            member.size, member.mode = file.stat().st_size, 0o644
            with file.open("rb") as opened:
                archive.addfile(member, opened)
    return packed.getvalue()
