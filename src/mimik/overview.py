"""The table of systems in README.md, written from results that exist."""

from collections.abc import Sequence
from pathlib import Path

from mimik.errors import UserError
from mimik.files import first_line, write_text
from mimik.measures import table
from mimik.results import load

BEGIN, END = "<!-- systems: written by `mimik compare --readme` -->", "<!-- systems: end -->"

MEASURED = ("truth_psnr_changed", "truth_psnr", "au_error", "eea", "identity_loss", "outside_change")


def write_systems(readme: Path, folders: Sequence[Path], store: Path) -> None:
    """Replace what stands between the two markers of a Markdown file by a table of results and where they come from.

    Args:
        readme: the file; holds the lines `BEGIN` and `END`.
        folders: results/<dataset>/<method>, of one dataset and scale.
        store: the prepared dataset.

    Raises:
        UserError: no results, results of several scales, or the file lacks the markers.
    """
    results = [load(folder, store) for folder in folders]
    scales = sorted({result.scale for result in results})
    if len(scales) != 1:
        raise UserError(
            f"{readme}: a table needs results of one scale, found {', '.join(scales) or 'none'}. Run `make demo-all`."
        )
    try:
        text = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{readme}: expected a Markdown file in UTF-8, but: {first_line(error)}.") from error
    if BEGIN not in text or END not in text:
        raise UserError(f"{readme}: expected the lines {BEGIN!r} and {END!r}, between which the table goes.")
    made = table(results, MEASURED)
    if made is None:
        raise UserError(f"{readme}: none of {', '.join(MEASURED)} was measured. Evaluate the methods again.")
    commits = sorted({str(result.record.get("git_commit"))[:7] for result in results})
    machines = sorted(
        {str(result.config.get("environment", {}).get("processor", "unknown processor")) for result in results}
    )
    seeds = sorted({str(result.record.get("seed")) for result in results})
    source = (
        f"{results[0].dataset}, scale {scales[0]}, {len(results[0].rows)} test faces, seed "
        f"{', '.join(seeds)}; {', '.join(machines)}; commit {', '.join(commits)}. "
        "In brackets: bootstrap 95 % intervals."
    )
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    write_text(readme, f"{head}{BEGIN}\n{made.to_markdown()}\n{source}\n{END}{tail}")
