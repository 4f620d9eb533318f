"""The pages of the documentation, taken apart: blocks of code, commands, links and anchors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
_MARKDOWN = MarkdownIt("commonmark").enable("table")
_COMMENT = re.compile(r"(^|\s+)#(\s.*)?$")
_CONTINUED = re.compile(r"\s*\\\n\s*")
_HTML_LINK = re.compile(r'\b(?:src|href)="([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of code, where it stands, and its text."""

    line: int
    language: str
    text: str

    @property
    def commands(self) -> tuple[str, ...]:
        """The lines of a block of shell commands, without comments; continued ones are one."""
        lines = _CONTINUED.sub(" ", self.text).splitlines()
        return tuple(command for line in lines if (command := _COMMENT.sub("", line).strip()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page. Lines are counted from 1."""

    name: str
    text: str
    blocks: tuple[Block, ...]
    indented: tuple[int, ...]
    """Lines on which a block of code begins that is not fenced."""
    code: tuple[str, ...]
    """What stands in the text between backticks."""
    links: tuple[str, ...]
    anchors: frozenset[str]

    @property
    def commands(self) -> Iterator[tuple[int, str]]:
        """The line of the block, and the command."""
        for block in self.blocks:
            if block.language == "sh":
                yield from ((block.line, command) for command in block.commands)

    def block(self, beginning: str) -> Block:
        """The only block that begins like this."""
        (found,) = [block for block in self.blocks if block.text.startswith(beginning)]
        return found


def read_page(name: str, text: str) -> Page:
    """The page `name`, whose Markdown is `text`."""
    tokens = _MARKDOWN.parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    links = [str(token.attrs[name]) for token in inline for name in ("href", "src") if name in token.attrs]
    html = [token.content for token in (*tokens, *inline) if token.type in ("html_block", "html_inline")]
    return Page(
        name=name,
        text=text,
        blocks=tuple(
            Block(line=_line(token), language=token.info.strip(), text=token.content)
            for token in tokens
            if token.type == "fence"
        ),
        indented=tuple(_line(token) for token in tokens if token.type == "code_block"),
        code=tuple(token.content for token in inline if token.type == "code_inline"),
        links=(*links, *(link for part in html for link in _HTML_LINK.findall(part))),
        anchors=frozenset(
            slug(_plain(tokens[index + 1]))
            for index, token in enumerate(tokens)
            if token.type == "heading_open"
        ),
    )


def pages() -> dict[str, Page]:
    """README.md and everything in docs/, by path below the repository."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    names = [str(file.relative_to(ROOT)) for file in files]
    return {name: read_page(name, (ROOT / name).read_text(encoding="utf-8")) for name in names}


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())


def _plain(heading: Token) -> str:
    return "".join(child.content for child in heading.children or ())


def _line(token: Token) -> int:
    return (token.map or [0])[0] + 1
