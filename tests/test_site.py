"""The site of the documentation; `make docs` builds it strictly, which finds links and anchors without a target."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_menu_of_the_site_has_every_page() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2].split()
    pages = [str(page.relative_to(ROOT / "docs")) for page in sorted((ROOT / "docs").rglob("*.md"))]
    made_by_hooks = {"api.md", "results.md", "changes.md"}
    assert sorted(word for word in menu if word.endswith(".md")) == sorted({*pages, *made_by_hooks})
