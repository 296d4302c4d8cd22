"""Where settings stand that the dataclasses have as a list, a section or a single value: told before they are merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from lat.core.errors import InputError


def refuse_wrong_shapes(owner: type, content: Mapping[Any, Any], where: object, name: str = "") -> None:
    """Check which settings are lists, sections and single values; values of the right shape and unknown names are left to others.

    Args:
        owner: the dataclass of the settings in `content`.
        where: names the source of the settings, for the error.
        name: the section that they stand in; "" for all settings.

    Raises:
        InputError: for the first one of another shape than `owner` has, by its whole name.
    """
    kinds = get_type_hints(owner)
    for one in fields(owner):
        if one.name in content:
            _check(kinds[one.name], content[one.name], where, f"{name}.{one.name}".lstrip("."))


def _check(kind: Any, value: Any, where: object, name: str) -> None:
    if get_origin(kind) in (Union, UnionType):
        if value is None and NoneType in get_args(kind):
            return
        kind = next((one for one in get_args(kind) if one is not NoneType), Any)
    if kind is Any or (isinstance(value, str) and value.startswith("${")):
        return
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise InputError(where, f"'{name}' is {_told(value)}, not a section", f"write its settings below `{_last(name)}:`")
        refuse_wrong_shapes(kind, value, where, name)
    elif get_origin(kind) is list:
        _check_list(get_args(kind)[0], value, where, name)
    elif get_origin(kind) is dict:
        if not isinstance(value, Mapping):
            raise InputError(where, f"'{name}' is {_told(value)}, not a mapping", f"write `NAME: VALUE` below `{_last(name)}:`")
    elif isinstance(value, Mapping | list):
        raise InputError(where, f"'{name}' is {_told(value)}, not a single value", f"write {name.rpartition('.')[2]}: VALUE")


def _check_list(kind: Any, value: Any, where: object, name: str) -> None:
    has_sections = is_dataclass(kind)
    if not isinstance(value, list):
        entry = "- name: NAME" if has_sections and "name" in get_type_hints(kind) else "- ..."
        raise InputError(where, f"'{name}' is {_told(value)}, not a list", f"write each entry as `{entry}`, with a dash in front")
    for number, one in enumerate(value):
        _check(kind, one, where, f"{name}[{number}]")


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "empty" if value is None else f"'{str(value)[:30]}'"


def _last(name: str) -> str:
    return name.rpartition(".")[2].partition("[")[0]
