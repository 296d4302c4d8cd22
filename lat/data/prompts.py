"""What a promptable detector is asked for: a text for each class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from lat.core.documents import read_yaml
from lat.core.errors import InputError
from lat.core.label_space import LabelSpace

_REMEDY = "write a line per class, such as `rider: person riding a bicycle`"


def read_prompts(path: Path) -> dict[str, str]:
    """The text of each class in a YAML file {class: text}, in the file's order; it may stand below the key `prompts`.

    Raises:
        InputError: if the file is missing, is no such map, or has an empty text or one text twice.
    """
    try:
        content = read_yaml(path, dict[str, str | dict[str, str]], _REMEDY)
    except FileNotFoundError:
        raise InputError(path, "is not there", "correct --prompts") from None
    inner = content.get("prompts")
    if isinstance(inner, dict):
        if len(content) > 1:
            raise InputError(path, "has other keys beside `prompts`", "put every class below `prompts`")
        content = inner
    if not content:
        raise InputError(path, "names no class", _REMEDY)
    for name, text in content.items():
        if not isinstance(text, str) or not name.strip() or not text.strip():
            raise InputError(path, f"{name or 'a class without name'}: has no text", _REMEDY)
    prompts = {name: " ".join(text.split()) for name, text in content.items()}
    _check_distinct(path, prompts)
    return prompts


def _check_distinct(path: Path, prompts: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for name, text in prompts.items():
        other = seen.setdefault(text.casefold(), name)
        if other != name:
            raise InputError(path, f"{name}: has the text of {other}, '{text}'", "ask for different things, or leave one out")


def prompts_of_names(spaces: Iterable[LabelSpace]) -> dict[str, str]:
    """The class names of some label spaces as texts; names that differ in case, `_` or `-` alone are one class, the first."""
    prompts: dict[str, str] = {}
    for space in spaces:
        for name in space.class_names:
            text = " ".join(name.replace("_", " ").replace("-", " ").split()).lower()
            if text and text not in prompts.values():
                prompts[name] = text
    return prompts
