"""Write settings.md: every setting with its type, default and description, from the dataclasses that define them.

python docs/make_settings.py
"""

from __future__ import annotations

import json
from dataclasses import MISSING
from pathlib import Path
from typing import Any, get_args, get_origin

from lat.config.reference import Setting, walk

HEAD = """\
# Every setting

Written by `python docs/make_settings.py` from the dataclasses of the settings. In the YAML file, `lat.training.steps` is the key
`steps` in the section `training` of the section `lat`; behind a command it is `lat.training.steps=500`.
`lat schema > lat.schema.json` writes the same as a JSON schema: editors complete keys with it and mark wrong ones.

Relative paths in a file count from the folder of that file, `output_dir`, weights and tables too; a run is the same from
wherever it is started. Paths typed behind a command, and those in a configuration that Python hands over as a dictionary or
that is at a URL, count from the working directory.
"""


def kind_of(kind: Any) -> str:
    """A type in words."""
    if kind is Any:
        return "any"
    words = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    if kind in words:
        return words[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is dict:
        return "map"
    return f"list of {kind_of(arguments[0])}" if origin is list and arguments[0] in words else "list"


def row_of(key: str, setting: Setting) -> str:
    """One line of a table."""
    name = f"{key}.{setting.name}" if key else setting.name
    if setting.section is not None:
        what = "section" if setting.kind is setting.section else "list"
        return f"| [`{setting.name}`](#{anchor(name)}) | {what} | | {cell(setting.description)} |"
    default = "required" if setting.default is MISSING else f"`{json.dumps(setting.default)}`"
    return f"| `{setting.name}` | {kind_of(setting.kind)} | {default} | {cell(setting.description)} |"


def anchor(key: str) -> str:
    """The anchor of the heading of a section."""
    return key.replace(".", "")


def cell(text: str) -> str:
    """Text that cannot end a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def render() -> str:
    """The whole page."""
    parts = [HEAD]
    for key, settings in walk():
        title = f"`{key}`" if key else "The file itself"
        rows = [row_of(key, setting) for setting in settings]
        parts.append("\n".join([f"## {title}", "", "| key | type | default | what it is |", "|---|---|---|---|", *rows, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(render(), encoding="utf-8")
