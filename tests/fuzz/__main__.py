"""Broken and hostile inputs by the hundred, with fixed seeds: each has to end in a result or in one sentence.

    python -m tests.fuzz                  the whole table
    python -m tests.fuzz archive params   some kinds
    python -m tests.fuzz --count 200      inputs of each kind; --seed 3: others

Not a test of pytest's: it takes minutes. Every input is tried in a process of its own, which may take 60 s and 12 GB,
and must change no file but those it is to write. The exit status is 1 when one ended in a traceback, a signal, no time,
or changed a file; what was tried then stays in the folder that is named.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.fuzz.inputs import KINDS
from tests.fuzz.trying import BAD, run


def command(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--count", type=int, default=80, help="inputs of each kind (default: 80)")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="mimik-fuzz-"))
    found = run(chosen.kinds or list(KINDS), chosen.count, chosen.seed, folder)
    well = not any(counted[name] for counted in found.values() for name in BAD)
    if well:
        shutil.rmtree(folder)
    else:
        print(f"what was tried: {folder}", file=sys.stderr)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(command())
