"""The table of systems in README.md, written from results that exist."""

from collections.abc import Sequence
from pathlib import Path

from mimik.errors import UserError
from mimik.reporting.measures import table
from mimik.reporting.results import read_result
from mimik.reporting.trainings import gather
from mimik.settings.replicates import replicate
from mimik.settings.scoring import is_submitted, told_elsewhere
from mimik.storage.files import atomic_path, first_line

BEGIN, END = "<!-- systems: written by `mimik compare --readme` -->", "<!-- systems: end -->"

MEASURED = ("truth_psnr_changed", "truth_psnr", "au_error", "eea", "identity_loss", "outside_change")


def systems_in(results: Path, names: Sequence[str]) -> list[Path]:
    """Folders of the trainings of some systems that have been measured, and of the methods whose pictures were made
    elsewhere, in this order.

    Args:
        results: results/<dataset>.
        names: of the systems, in the order of the table.
    """
    found = [file.parent for file in sorted(results.glob("*/metrics.json"))]
    trained = sorted(found, key=lambda folder: replicate(folder.name).number)
    systems = [folder for name in names for folder in trained if replicate(folder.name).method == name]
    return [*systems, *(folder for folder in found if is_submitted(folder))]


def write_systems(readme: Path, folders: Sequence[Path], store: Path) -> None:
    """Replace the text between two markers of a Markdown file by a table of results and their origin.

    Args:
        readme: the file; holds the lines `BEGIN` and `END`.
        folders: results/<dataset>/<method> of one dataset and scale, also those of further trainings.
        store: the prepared dataset.

    Everything else in the file stays unchanged, including its line endings; a link to it stays a link.

    Raises:
        UserError: there are no results or results of several scales or protocols, or the file is missing, is not
            UTF-8, or does not contain the two markers, once each and in this order.
    """
    readme = readme.resolve()
    results = gather([read_result(folder, store) for folder in folders])
    scales = sorted({result.scale for result in results})
    protocols = sorted({result.protocol for result in results})
    for kind, found in (("scale", scales), ("protocol", protocols)):
        if len(found) != 1:
            raise UserError(
                f"{readme}: a table needs results of one {kind}, found {', '.join(found) or 'none'}. "
                "Run `make demo-all`."
            )
    try:
        text = readme.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{readme}: expected a Markdown file in UTF-8, but: {first_line(error)}.") from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(
            f"{readme}: expected the lines {BEGIN!r} and {END!r}, each once and in this order; the table goes between "
            "them."
        )
    made = table(results, MEASURED)
    if made is None:
        raise UserError(f"{readme}: none of {', '.join(MEASURED)} was measured. Evaluate the methods again.")
    trained = [training for result in results for training in result.trainings]
    commits = sorted({str(result.record.get("git_commit"))[:7] for result in trained})
    machines = sorted(
        {
            str(training.config.get("environment", {}).get("processor", "unknown processor"))
            for training in trained
            if training.submitted is None
        }
    )
    elsewhere = " ".join(told_elsewhere(r.method, r.submitted) for r in results if r.submitted is not None)
    source = (
        f"{results[0].dataset}, scale {scales[0]}, protocol {protocols[0]}, {len(results[0].rows)} test faces; "
        f"{', '.join(machines)}; commit {', '.join(commits)}. In brackets: 95 % intervals. {elsewhere}".rstrip()
    )
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    lines = f"{BEGIN}\n{made.to_markdown()}\n{source}\n{END}"
    if "\r\n" in text:
        lines = lines.replace("\n", "\r\n")
    with atomic_path(readme) as temporary:
        temporary.write_bytes(f"{head}{lines}{tail}".encode())
