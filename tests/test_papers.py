"""Citations have targets: pages and sections of docs that are named anywhere, links, and the code that docs name."""

import ast
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mimik"
PAPERS = ROOT / "docs" / "papers"
DOCS = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]
NO_PAGE = {"folder", "listing", "lists", "photographs", "tree"}
"""Modules of mimik.datasets that belong to no set of photographs in particular."""


def texts() -> Iterator[Path]:
    """Files that people write: code, workflow, settings, docs."""
    endings = {".py", ".md", ".yaml", ".yml", ".toml", ".cff", ".smk", ".html", ".j2", ".css", ".sh"}
    for folder in ("src", "tests", "docs", "workflow", "benchmarks", "profiles"):
        yield from (path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in endings)
    yield from (ROOT / name for name in ("Makefile", "workflow/Snakefile"))
    yield from (path for path in sorted(ROOT.iterdir()) if path.is_file() and path.suffix in endings)


def prose(text: str) -> str:
    """Markdown without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """Where links into a page can point: GitHub's names of its headings."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ +(.*?)[ #]*$", prose(text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words).lower().replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


@cache
def anchors_of(page: Path) -> set[str]:
    return anchors(page.read_text(encoding="utf-8"))


def fault(page: Path, anchor: str) -> str:
    """What is wrong with a pointer to a file and, in a page, one of its sections; empty: nothing."""
    if not page.exists():
        return "no such file"
    return f"no section #{anchor}" if anchor and anchor not in anchors_of(page) else ""


def citations(text: str) -> list[tuple[str, str]]:
    """The pages of docs that a text names, with the section or ""."""
    return re.findall(r"\b(docs/[\w./-]+?\.md)(?:#([\w-]+))?", text)


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or what a module defines: function, class, constant, method or field."""
    try:
        pkgutil.resolve_name(name)
    except AttributeError:
        owner, field = name.rsplit(".", 1)
        return exists(owner) and field in getattr(pkgutil.resolve_name(owner), "__dataclass_fields__", ())
    except ImportError:
        return False
    return True


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def modules(*folders: str) -> list[Path]:
    """The files of the modules in some folders of mimik; a package is its __init__."""
    found = []
    for folder in folders:
        found += [path for path in sorted((SOURCE / folder).glob("*.py")) if path.name != "__init__.py"]
        found += sorted((SOURCE / folder).glob("*/__init__.py"))
    return found


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


CITING = modules("methods", "guidance", "evaluation/metrics") + [
    path for path in modules("datasets") if path.stem not in NO_PAGE
]


def test_anchors_are_those_of_github() -> None:
    text = "# A. B's `c_d` (e)\n## Same\n### Same ##\n```\n# no heading\n```\n## [Link](x.md), 3 × 3\n"
    assert anchors(text) == {"a-bs-c_d-e", "same", "same-1", "link-3--3"}
    assert citations("see docs/a/b.md#c-d. And docs/e.md.") == [("docs/a/b.md", "c-d"), ("docs/e.md", "")]


def test_faults_of_pointers_are_found() -> None:
    assert fault(PAPERS / "metrics.md", "fid") == ""
    assert fault(PAPERS / "metrics.md", "no-such-measure") and fault(PAPERS / "no_such_page.md", "")


def test_every_page_and_section_of_docs_that_is_named_exists() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {page}#{anchor}: {problem}"
        for path in texts()
        if path != Path(__file__)
        for page, anchor in citations(path.read_text(encoding="utf-8"))
        if (problem := fault(ROOT / page, anchor))
    ]
    assert wrong == []


def test_every_link_between_pages_resolves() -> None:
    wrong = []
    for path in DOCS:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text(encoding="utf-8"))):
            if re.match(r"\w+:", target):
                continue
            file, _, anchor = target.partition("#")
            if problem := fault(path.parent / file if file else path, anchor):
                wrong.append(f"{path.relative_to(ROOT)}: {target}: {problem}")
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("mimik.methods.hier_seg", True),
        ("mimik.methods.hier_seg.Method.generator_loss", True),
        ("mimik.methods.hier_seg.Config.adversary", True),  # a field whose default is made anew for every object
        ("mimik.methods.no_such_method", False),
        ("mimik.methods.hier_seg.Config.no_such_field", False),
        ("mimik.methods.hier_seg.NoSuchClass.field", False),
    ],
)
def test_names_of_the_code_are_looked_up(name: str, there: bool) -> None:
    assert exists(name) == there


@pytest.mark.parametrize(
    "path",
    # The changelog names what there was before.
    [path for path in DOCS if path.name != "CHANGELOG.md"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_code_that_docs_name_exists(path: Path) -> None:
    named = set(re.findall(r"`(mimik(?:\.\w+)+)`", path.read_text(encoding="utf-8")))
    assert sorted(name for name in named if not exists(name)) == []


@pytest.mark.parametrize("path", CITING, ids=dotted)
def test_a_module_names_its_page_and_the_page_names_the_module(path: Path) -> None:
    pages = [ROOT / page for page, _ in citations(docstring(path)) if (ROOT / page).parent == PAPERS]
    assert pages, f"the docstring of {dotted(path)} names no page of docs/papers"
    assert any(f"`{dotted(path)}" in page.read_text(encoding="utf-8") for page in pages)


def test_the_list_of_papers_names_every_page() -> None:
    listed = (PAPERS / "README.md").read_text(encoding="utf-8")
    pages = sorted(path.name for path in PAPERS.glob("*.md") if path.name != "README.md")
    assert [page for page in pages if f"({page}" not in listed] == []


@pytest.mark.parametrize("path", sorted(PAPERS.glob("*.md")), ids=lambda path: path.name)
def test_formulas_come_through_github(path: Path) -> None:
    """GitHub reads Markdown before formulas: a backslash before a punctuation mark is lost, and the command with it."""
    formulas = re.findall(r"\$\$.*?\$\$|\$[^$\n]+\$", prose(path.read_text(encoding="utf-8")), re.DOTALL)
    assert [formula for formula in formulas if re.search(r"\\[^\w\s]", formula)] == []


def test_nothing_points_out_of_the_repository() -> None:
    forbidden = ["papers/" + "spec", "../" + "shared"]
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in texts()
        for word in forbidden
        if word in path.read_text(encoding="utf-8")
    ]
    assert found == []
