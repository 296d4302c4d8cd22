"""What the site needs beyond Markdown: equations as MathML, which browsers draw without a script, and no links out of it."""

from __future__ import annotations

import re
from typing import Any

from latex2mathml.converter import convert

_BLOCK = re.compile(r"^\$\$\n(.+?)\n\$\$$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<![\w$`\\])\$([^$\n`]+)\$(?![\w$])")
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#\s]+)[^)]*\)")  # a link to a file of the repository that is no page
_CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Replace `$...$` and `$$` blocks by MathML, outside code, and links to files that are no pages by their names."""
    markdown = _OUTSIDE.sub(_name_of, markdown)
    parts = _CODE.split(markdown)
    return "".join(part if i % 2 else _replace(part) for i, part in enumerate(parts))


def _name_of(link: re.Match[str]) -> str:
    text, path = link.groups()
    return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"


def _replace(text: str) -> str:
    text = _BLOCK.sub(lambda match: convert(match[1], display="block"), text)
    return _INLINE.sub(lambda match: convert(match[1]), text)
