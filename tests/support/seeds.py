"""The code blocks of the seed documents, taken from the documents themselves."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEEDS = Path(__file__).parents[3] / "shared" / "seeds"


@dataclass(frozen=True)
class Block:
    """One code block: the document's number, its place among the document's blocks, language, text."""

    document: str
    index: int
    language: str
    code: str

    @property
    def id(self) -> str:
        return f"{self.document}-{self.index}-{self.language}"


def seed_blocks() -> list[Block]:
    """All blocks of all documents, in order; empty where the documents are absent."""
    if not SEEDS.is_dir():
        return []
    return [block for path in sorted(SEEDS.glob("*.txt")) for block in blocks_of(path)]


def blocks_of(path: Path) -> Iterator[Block]:
    document = path.name[:3]
    text = path.read_text(encoding="utf-8")
    found = list(_rst(text)) if ".. code-block::" in text else list(_fenced(text))
    for index, (language, code) in enumerate(found):
        yield Block(document, index, language, code)


def _fenced(text: str) -> Iterator[tuple[str, str]]:
    # One document stands whole inside a ```markdown fence: that line opens no block.
    for match in re.finditer(r"^```(?!markdown)(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def _rst(text: str) -> Iterator[tuple[str, str]]:
    pattern = r"^\.\. code-block:: (\w+)\n((?:[ \t]+\S.*\n|[ \t]*\n)*)"
    for match in re.finditer(pattern, text, re.MULTILINE):
        lines = [line for line in match[2].splitlines() if not line.strip().startswith(":caption:")]
        code = textwrap.dedent("\n".join(line if line.strip() else "" for line in lines)).strip("\n")
        if code:
            yield match[1], code + "\n"
