"""Stand-in: pages that are the measures they show."""

from pathlib import Path


def method_report(result_dir, store_dir, output, settings):
    Path(output).write_text(Path(result_dir, "metrics.json").read_text())


def comparison(result_dirs, prepared_root, output, settings):
    Path(output).write_text("".join(Path(folder, "metrics.json").read_text() for folder in result_dirs))
