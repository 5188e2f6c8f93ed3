"""A table as data, and as CSV, Markdown and LaTeX."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["up", "down", ""]

ARROWS = {"up": "↑", "down": "↓", "": ""}


@dataclass(frozen=True)
class Column:
    """A column: key of the metric (or any name), heading, which direction is better, and a short explanation."""

    key: str
    heading: str
    direction: Direction = ""
    unit: str = ""
    explanation: str = ""
    group: str = ""
    text: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell: what is printed, small lines below it (interval or reason, more), the number behind it, and marks."""

    text: str
    small: str = ""
    number: float | None = None
    best: bool = False
    muted: bool = False
    link: str = ""
    below: str = ""

    @property
    def print(self) -> str:
        """All the small print in one line."""
        return "; ".join(line for line in (self.small, self.below) if line)


EMPTY = Cell("–", muted=True)


@dataclass(frozen=True)
class Line:
    """A row of a table; `baseline` rows are excluded from the choice of the best and set apart."""

    name: str
    cells: Sequence[Cell]
    baseline: bool = False
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table: columns, lines, and notes below it (such as what was skipped and why).

    `dense` tables are long lists: they have less space, and small print on the same line.
    """

    corner: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    notes: Sequence[str] = field(default_factory=tuple)
    dense: bool = False

    def to_csv(self) -> str:
        """Comma separated values; numbers in full; every column is followed by `<key>_note`, its small print."""
        written = io.StringIO()
        writer = csv.writer(written, lineterminator="\n")
        keys = [column.key for column in self.columns]
        writer.writerow([self.corner, *(name for key in keys for name in (key, f"{key}_note"))])
        for line in self.lines:
            row = [line.name]
            for cell in line.cells:
                row += [cell.text if cell.number is None else repr(cell.number), cell.print]
            writer.writerow(row)
        return written.getvalue()

    def to_markdown(self) -> str:
        """A pipe table; the best of a column in bold."""
        head = [self.corner, *(self._heading(column) for column in self.columns)]
        rule = ["---", *("---" if column.text else "---:" for column in self.columns)]
        body = [[line.name, *(self._markdown(cell) for cell in line.cells)] for line in self.lines]
        lines = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in [head, rule, *body]]
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes)]) + "\n"

    def to_latex(self) -> str:
        """A booktabs `tabular`; the best of a column in bold, baselines below a rule."""
        head = " & ".join(_latex(text) for text in [self.corner, *(self._heading(c) for c in self.columns)])
        body: list[str] = []
        for index, line in enumerate(self.lines):
            if index and line.baseline != self.lines[index - 1].baseline:
                body.append("\\midrule")
            cells = [
                (f"\\textbf{{{_latex(cell.text)}}}" if cell.best else _latex(cell.text))
                + (f" {{\\scriptsize {_latex(cell.print)}}}" if cell.print else "")
                for cell in line.cells
            ]
            body.append(" & ".join([_latex(line.name), *cells]) + " \\\\")
        alignment = "l" + "".join("l" if column.text else "r" for column in self.columns)
        opening = [f"\\begin{{tabular}}{{{alignment}}}", "\\toprule", f"{head} \\\\", "\\midrule"]
        return "\n".join([*opening, *body, "\\bottomrule", "\\end{tabular}", ""])

    @staticmethod
    def _heading(column: Column) -> str:
        unit = f" ({column.unit})" if column.unit else ""
        return f"{column.heading}{unit} {ARROWS[column.direction]}".strip()

    @staticmethod
    def _markdown(cell: Cell) -> str:
        text = f"**{cell.text}**" if cell.best else cell.text
        return f"{text} ({cell.print})" if cell.print else text


_LATEX = {
    "\\": "\\textbackslash{}",
    "&": "\\&",
    "%": "\\%",
    "$": "\\$",
    "#": "\\#",
    "_": "\\_",
    "{": "\\{",
    "}": "\\}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "↑": "$\\uparrow$",
    "↓": "$\\downarrow$",
    "–": "--",
    "∞": "$\\infty$",
    "−": "$-$",
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
