import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mimik.errors import UserError
from mimik.reporting.report import comparison, method_report
from tests.results_world import make, make_result, make_store, metric

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Tags that are not closed, links, ids and the text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.faults: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        values = dict(attrs)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag == "a":
            self.links.append(str(values["href"]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.append(str(values["id"]))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


METRICS = {
    "truth_psnr_changed": metric(21.5),
    "copy_truth_psnr_changed": metric(18.5),
    "eea": metric(0.93),
    "fid": {"skipped": "put <weights> there"},
}


def test_method_page(tmp_path: Path) -> None:
    store, result = make_store(tmp_path, truth=True), make_result(tmp_path, metrics=METRICS)
    method_report(result, store, result / "report.html", {"rows": 2})
    page = Page(result / "report.html")
    assert not page.open and not page.faults
    assert "stargan on rendered" in page.text and "demo scale" in page.text
    assert "0123456789" in page.text and "12 of 6 people" in page.text
    assert "FID skipped: put <weights> there" in page.text
    assert "metrics.json" in page.links
    assert "Masks before and after end-to-end training (not shown)" in page.text


def test_pages_ask_nothing_of_the_network(tmp_path: Path) -> None:
    store, result = make_store(tmp_path, truth=True), make_result(tmp_path, metrics=METRICS)
    method_report(result, store, tmp_path / "a.html", {})
    comparison([result], tmp_path / "data/prepared", tmp_path / "b.html", {})
    for name in ("a.html", "b.html"):
        source = (tmp_path / name).read_text()
        loaded = re.findall(r"""(?:src|href)=["']([^"']+)["']|url\(([^)]+)\)|@import""", source)
        targets = {target for pair in loaded for target in pair if target}
        assert targets and not [t for t in targets if t.startswith(("http", "//"))]
        assert "<script" not in source and "@import" not in source


def test_links_and_ids(tmp_path: Path) -> None:
    make_store(tmp_path, truth=True)
    results = [make_result(tmp_path, name, metrics=METRICS) for name in ("stargan", "hier_seg")]
    for result in results:
        method_report(result, tmp_path / "data/prepared/rendered", result / "report.html", {})
    output = tmp_path / "report" / "index.html"
    comparison(results, tmp_path / "data/prepared", output, {})
    page = Page(output)
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert (output.parent / link).resolve().exists(), link
    assert "../results/rendered/hier_seg/report.html" in page.links


def test_smoke_never_stands_beside_demo(tmp_path: Path) -> None:
    make_store(tmp_path, "folder")
    smoke = make_result(tmp_path, "quick", dataset="folder", scale="smoke")
    demo = make_result(tmp_path, "slow", dataset="folder", scale="demo")
    output = tmp_path / "index.html"
    comparison([smoke, demo], tmp_path / "data/prepared", output, {})
    source = output.read_text()
    first, second = source.split('<section class="group"')[1:]
    assert ">slow<" in first and ">quick<" not in first and "Smoke run" not in first
    assert ">quick<" in second and ">slow<" not in second and "Smoke run" in second


def test_results_of_different_protocols_share_nothing(tmp_path: Path) -> None:
    make_store(tmp_path)
    results = [make_result(tmp_path, name) for name in ("own", "fair")]
    path = results[1] / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "protocol": "equal"}))
    comparison(results, tmp_path / "data/prepared", tmp_path / "index.html", {})
    first, second = (tmp_path / "index.html").read_text().split('<section class="group"')[1:]
    assert ">own<" in first and ">fair<" not in first and "published: each system" in first
    assert ">fair<" in second and ">own<" not in second and "equal: all systems" in second


def test_best_is_bold_and_baselines_are_set_apart(tmp_path: Path) -> None:
    make_store(tmp_path, truth=True)
    results = [
        make_result(tmp_path, f"{name}{training}", metrics={**METRICS, "eea": metric(value)})
        for name, value in (("low", 0.5), ("high", 0.9))
        for training in ("", "@2")
    ]
    comparison(results, tmp_path / "data/prepared", tmp_path / "index.html", {"figures": [], "tables": ["results"]})
    source = (tmp_path / "index.html").read_text()
    assert re.search(r'class="best ?">90\.0<', source) and not re.search(r'class="best ?">50\.0<', source)
    assert source.count('<tr class="baseline first">') == 1 and "Copy the input" in source


def test_same_input_same_page(tmp_path: Path) -> None:
    store, result = make_store(tmp_path, "folder"), make_result(tmp_path, dataset="folder", metrics=METRICS)
    pages = []
    for name in ("a.html", "b.html"):
        method_report(result, store, tmp_path / name, {})
        pages.append(re.sub(r"Made by mimik on [^(]*", "", (tmp_path / name).read_text()))
    assert pages[0] == pages[1]


def test_text_from_files_is_escaped(tmp_path: Path) -> None:
    store, result = make_store(tmp_path, "folder"), make_result(tmp_path, dataset="folder")
    record = json.loads((result / "metrics.json").read_text())
    record["method"] = "<script>alert(1)</script>"
    (result / "metrics.json").write_text(json.dumps(record))
    method_report(result, store, tmp_path / "a.html", {})
    assert "<script" not in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize("room", ["figures", "tables"])
def test_unknown_names_are_refused(tmp_path: Path, room: str) -> None:
    store, result = make_store(tmp_path), make_result(tmp_path)
    with pytest.raises(UserError, match=rf"report\.{room}: there is no 'portrait'"):
        method_report(result, store, tmp_path / "a.html", {room: ["portrait"]})
    assert not (tmp_path / "a.html").exists()


def test_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no result to compare"):
        comparison([], tmp_path, tmp_path / "index.html", {})


def test_missing_result_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics\.json: no such file"):
        method_report(tmp_path / "nothing", make_store(tmp_path), tmp_path / "a.html", {})


def test_the_table_of_systems_replaces_what_stands_between_the_markers(tmp_path: Path) -> None:
    from mimik.reporting.overview import BEGIN, END, write_systems

    folders = []
    for method, value in (("stargan", 0.9), ("hier_seg", 0.95)):
        result = make(tmp_path, method, metrics={"eea": metric(value)})
        (result.directory / "config.json").write_text(json.dumps({"environment": {"processor": "Abacus 9"}}))
        folders.append(result.directory)
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    store = tmp_path / "data" / "prepared" / "rendered"
    for _ in range(2):  # the second time over its own work
        write_systems(readme, folders, store)
    text = readme.read_text()
    assert text.startswith(f"before\n{BEGIN}\n|") and text.endswith(f"{END}\nafter\n") and "old" not in text
    assert (
        "| stargan | 90.0" in text
        and "| hier_seg | 95.0" in text
        and "**" not in text
        and "Abacus 9" in text
        and "0123456" in text
    )
    for wrong in ("no markers", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{END}\nmine\n{END}\n", f"{BEGIN}\n{BEGIN}\n{END}\n"):
        readme.write_text(wrong)
        with pytest.raises(UserError, match="expected the lines"):
            write_systems(readme, folders, store)
        assert readme.read_text() == wrong
    for content in (f"\xe9{BEGIN}\n{END}".encode("latin-1"), None):
        readme.write_bytes(content) if content else readme.unlink()
        with pytest.raises(UserError, match=r"README\.md: expected a Markdown file in UTF-8"):
            write_systems(readme, folders, store)
    # Somebody's line ends and link stay.
    readme.symlink_to(tmp_path / "other.md")
    (tmp_path / "other.md").write_bytes(f"before\r\n{BEGIN}\r\n{END}\r\nafter\r\n".encode())
    write_systems(readme, folders, store)
    content = (tmp_path / "other.md").read_bytes()
    assert readme.is_symlink() and content.count(b"\n") == content.count(b"\r\n") > 5
    with pytest.raises(UserError, match="make demo-all"):
        write_systems(readme, [], store)
    path = folders[0] / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "protocol": "equal"}))
    with pytest.raises(UserError, match="results of one protocol, found equal, published"):
        write_systems(readme, folders, store)
