"""README and docs, and what stands in them: shell lines, Python examples, links, headings."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
README = PAGES["README.md"]


def blocks(page: str, language: str) -> list[str]:
    """Fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.M | re.S)


def command_lines(page: str) -> list[str]:
    """Lines of a page's shell blocks, comments off."""
    lines = [
        line.split("  #")[0].strip() for each in blocks(page, "sh") for line in each.split("\n")
    ]
    return [line for line in lines if line]


def headings(page: str) -> set[str]:
    """The anchors that a page's headings have, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", page, flags=re.M | re.S)
    found = re.findall(r"^#+ (.*)$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in found}


def named_examples(page: str) -> dict[str, str]:
    """File name -> Python block whose first line says that it is that file."""
    found = [(re.match(r"# (\w+\.py): ", each), each) for each in blocks(page, "python")]
    return {match[1]: each for match, each in found if match}
