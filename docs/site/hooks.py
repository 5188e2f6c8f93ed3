"""What the site needs beyond the pages of docs/, which are written for GitHub.

Formulas become MathML, lists get the blank line that Python-Markdown wants before them, the results in README.md and
CHANGELOG.md are made pages, and so is the Python API, from `mimik.__all__`.
"""

import ast
import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
INIT = ROOT / "src" / "mimik" / "__init__.py"
OUTSIDE = {"README.md": "results.md", "CHANGELOG.md": "changes.md"}
"""Files beside docs/ that become pages; of README.md its section of results."""

FORMULA = re.compile(r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL)
"""How pymdownx.arithmatex marks a formula."""

DIAGRAM = re.compile(r"^```mermaid\nflowchart.*?\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
"""A diagram of arrows. Drawing it in a browser takes a script from another machine, so the site has a table instead."""

ITEM = re.compile(r"[-*] ")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made here."""
    for name, page in OUTSIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        if name == "README.md":  # the rest of it is on other pages, too
            found = re.search(r"^## Results$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
            if found is None:
                raise ValueError(f"{ROOT / name}: has no section Results")
            text = f"# What was measured\n{found[1]}"
        files.append(File.generated(config, page, content=LINK.sub(_from_root, text)))
    files.append(File.generated(config, "api.md", content=api()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to the pages that are made from files beside docs/, and blank lines before lists."""
    depth = page.file.src_uri.count("/")
    for name, target in OUTSIDE.items():
        markdown = markdown.replace(f"]({'../' * (depth + 1)}{name}", f"]({'../' * depth}{target}")
    return _spaced(DIAGRAM.sub(_arrows, markdown))


def on_page_content(content: str, **_: Any) -> str:
    """Formulas as MathML: browsers draw it themselves, without a script and without the network."""
    return FORMULA.sub(_mathml, content)


def api() -> str:
    """The page of the API in Markdown; names in the order of `mimik.__all__`."""
    values = {
        target.id: ast.literal_eval(node.value)
        for node in ast.parse(INIT.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in ("__all__", "_HOMES")
    }
    homes = values["_HOMES"]
    if missing := set(values["__all__"]) - {*homes, "__version__"}:
        raise ValueError(f"{INIT}: no home for {', '.join(sorted(missing))}")
    blocks = [f"::: {homes[name]}.{name}" for name in values["__all__"] if name in homes]
    head = "# Python API\n\nWhat `import mimik` offers, as `mimik.NAME`. [From Python](python.md) shows it in use.\n"
    return "\n\n".join([head, *blocks]) + "\n"


def _from_root(found: re.Match[str]) -> str:
    """A link of a file beside docs/ as one of a page in docs/; what the site does not have keeps its words only."""
    mark, words, target = found.groups()
    file, _, anchor = target.partition("#")
    if not file or re.match(r"\w+:", target):
        return found[0]
    if not file.startswith("docs/") and file not in OUTSIDE:
        return words
    if file == "docs/papers":
        file = "docs/papers/README.md"
    return f"{mark}[{words}]({OUTSIDE.get(file, file.removeprefix('docs/'))}{f'#{anchor}' if anchor else ''})"


def _arrows(found: re.Match[str]) -> str:
    """A diagram as a table: what each node points at."""
    ends: dict[str, list[str]] = {}
    for start, end in re.findall(r"(\w+) --> (\w+)", found[1]):
        ends.setdefault(start, []).append(f"`{end}`")
    rows = [f"| `{start}` | {', '.join(targets)} |" for start, targets in ends.items()]
    return "\n".join(["| from | to |", "|---|---|", *rows]) + "\n"


def _spaced(markdown: str) -> str:
    """The same with a blank line between a paragraph and the list that follows it, outside of blocks of code."""
    lines: list[str] = []
    code = listed = False
    for line in markdown.split("\n"):
        code ^= line.lstrip().startswith("```")
        item = ITEM.match(line) is not None
        if item and not code and not listed and lines and lines[-1].strip():
            lines.append("")
        # A list goes on over lines that are set in, and ends with a blank line or the next paragraph.
        listed = item or (listed and line.startswith("  "))
        lines.append(line)
    return "\n".join(lines)


def _mathml(found: re.Match[str]) -> str:
    display = "block" if found["tag"] == "div" else "inline"
    return f'<{found["tag"]} class="formula">{convert(html.unescape(found["tex"]), display=display)}</{found["tag"]}>'
