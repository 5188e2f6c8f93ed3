import csv
import io

from mimik.reporting.tabular import EMPTY, Cell, Column, Line, Table

TABLE = Table(
    "Method",
    [Column("eea", "EEA", "up", "%"), Column("note", "A|B_c", text=True)],
    [
        Line("hier_seg", [Cell("93.1", "92.0 to 94.2", 0.9312345678901234, best=True), Cell("50 % & more")]),
        Line("Copy", [EMPTY, EMPTY], baseline=True),
    ],
    ("FID skipped",),
)


def test_csv_keeps_numbers_in_full() -> None:
    rows = list(csv.reader(io.StringIO(TABLE.to_csv())))
    assert rows[0] == ["Method", "eea", "eea_note", "note", "note_note"]
    assert rows[1] == ["hier_seg", "0.9312345678901234", "92.0 to 94.2", "50 % & more", ""]
    assert len(rows) == 3


def test_markdown() -> None:
    lines = TABLE.to_markdown().splitlines()
    assert lines[0] == "| Method | EEA (%) ↑ | A\\|B_c |"
    assert lines[1] == "| --- | ---: | --- |"
    assert lines[2] == "| hier_seg | **93.1** (92.0 to 94.2) | 50 % & more |"
    assert lines[-1] == "FID skipped"


def test_latex_escapes_and_sets_baselines_apart() -> None:
    lines = TABLE.to_latex().splitlines()
    assert lines[0] == "\\begin{tabular}{lrl}"
    assert lines[2] == "Method & EEA (\\%) $\\uparrow$ & A|B\\_c \\\\"
    assert lines[4] == "hier\\_seg & \\textbf{93.1} {\\scriptsize 92.0 to 94.2} & 50 \\% \\& more \\\\"
    assert lines[5] == "\\midrule" and lines[6].startswith("Copy & --")


def test_both_small_lines_of_a_cell_are_written() -> None:
    cells = [Cell("1.0", "0.5 to 1.5", 1.0, below="4 seeds"), Cell("2.0", below="5 seeds"), Cell("3.0")]
    made = Table("", [Column(key, key) for key in "abc"], [Line("one", cells)])
    assert "| 1.0 (0.5 to 1.5; 4 seeds) | 2.0 (5 seeds) | 3.0 |" in made.to_markdown()
    assert "one,1.0,0.5 to 1.5; 4 seeds,2.0,5 seeds,3.0," in made.to_csv()
    assert "{\\scriptsize 0.5 to 1.5; 4 seeds}" in made.to_latex()
