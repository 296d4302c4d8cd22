"""What every page of ours is made with: templates that escape all text, and styles and scripts that its policy allows by hash."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


def environment() -> Environment:
    """The templates of this folder, with filters for figures; text from outside is escaped."""
    templates = Environment(
        loader=PackageLoader("lat", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters["figure"] = lambda value: "–" if value is None else f"{value:.1f}"
    templates.filters["margin"] = margin
    templates.filters["signed"] = lambda value: "–" if value is None else f"{value:+.1f}".replace("-", "−")
    templates.filters["units"] = lambda value: f"{value:.1f}".removesuffix(".0")
    templates.filters["with_code"] = with_code
    templates.filters["whole"] = lambda value: f"{value:,}"
    return templates


def margin(value: float | None) -> Markup:
    """` ± 1.2` in small print; nothing if it is unknown."""
    return Markup("") if value is None else Markup('<small class="margin"> ±&nbsp;{:.1f}</small>').format(value)


def with_code(sentence: str) -> Markup:
    """A sentence whose names stand between backticks, with these as code; one with a backtick in a name stays as it is."""
    parts = sentence.split("`")
    if len(parts) % 2 == 0:
        return escape(sentence)
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts))


def joined_assets(names: Iterable[str]) -> str:
    """These files of `site/`, one after another."""
    return "\n".join(files("lat.report").joinpath("site", name).read_text(encoding="utf-8") for name in names)


def content_hash(text: str) -> str:
    """The hash that lets a page's content security policy allow exactly this style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
