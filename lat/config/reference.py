"""Every setting of a run as data, read from the dataclasses that define them: for the JSON schema and the page of settings."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from lat.config.schema import Config

_JSON_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean"}
_INTERPOLATION = {"type": "string", "pattern": r"\$\{"}  # such as ${data_root}; may resolve to any type


@dataclass(frozen=True)
class Setting:
    """One field of a dataclass of settings.

    Attributes:
        name: name of the field.
        kind: its type.
        default: as plain types, or an object for a section; MISSING if it must be given.
        description: its comment in one line; for a section, the first line of its docstring.
        section: the dataclass of its fields for a section or a list of sections, else None.
    """

    name: str
    kind: Any
    default: Any
    description: str
    section: type | None


def settings_of(owner: type, made: Any = None) -> list[Setting]:
    """The settings of a dataclass in field order; the values of `made`, if given, are the defaults."""
    comments = {name: text for base in reversed(owner.__mro__) if is_dataclass(base) for name, text in _comments(base).items()}
    kinds = get_type_hints(owner)
    found = []
    for field in fields(owner):
        default = _default(field) if made is None else getattr(made, field.name)
        found.append(_setting(field, kinds[field.name], comments.get(field.name, ""), default))
    return found


def _setting(field: Field[Any], kind: Any, comment: str, default: Any) -> Setting:
    candidates = (kind, *get_args(kind))
    section = next((one for one in candidates if isinstance(one, type) and is_dataclass(one)), None)
    text = comment or (_first_line(section) if section else "")
    return Setting(field.name, kind, default, text, section)


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _first_line(owner: type) -> str:
    return (inspect.getdoc(owner) or "").split("\n\n")[0].replace("\n", " ")


@cache
def _comments(owner: type) -> dict[str, str]:
    """The comments on the fields that a class itself defines: on the field's lines, or alone on the lines below it."""
    source = inspect.cleandoc("\n" + inspect.getsource(owner))
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    comments, alone = {}, set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line = token.start[0]
            comments[line] = token.string.lstrip("# ").strip()
            alone |= {line} if token.line.lstrip().startswith("#") else set()
    found = {}
    for statement in body.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            end = statement.end_lineno or statement.lineno
            while end + 1 in alone:
                end += 1
            found[statement.target.id] = " ".join(comments[n] for n in range(statement.lineno, end + 1) if n in comments)
    return found


def json_schema() -> dict[str, Any]:
    """A JSON schema (draft 2020-12) of the configuration file: types, defaults and descriptions; unknown keys are errors."""
    root = _object_schema(Config)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of a run of lat",
        **root,
    }


def _object_schema(owner: type, made: Any = None) -> dict[str, Any]:
    settings = settings_of(owner, made)
    properties = {one.name: _property(one) for one in settings}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [one.name for one in settings if one.default is MISSING]
    return {**schema, "required": required} if required else schema


def _property(setting: Setting) -> dict[str, Any]:
    described = {"description": setting.description} if setting.description else {}
    if setting.section is not None and setting.kind is setting.section:
        return {**described, **_object_schema(setting.section, setting.default)}
    has_default = setting.default is not MISSING
    return {**described, **_type_schema(setting.kind), **({"default": setting.default} if has_default else {})}


def _type_schema(kind: Any) -> dict[str, Any]:
    """The schema of a type of the settings."""
    if is_dataclass(kind) and isinstance(kind, type):
        return _object_schema(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (list, tuple):
        return {"type": "array", "items": _type_schema(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type_schema(arguments[1])}
    if origin in (Union, UnionType):
        return {"anyOf": [{"type": "null"} if one is type(None) else _type_schema(one) for one in arguments]}
    if kind is Any:
        return {}
    name = _JSON_TYPES[kind]
    return {"type": name} if kind is str else {"anyOf": [{"type": name}, _INTERPOLATION]}


def walk(owner: type = Config, prefix: str = "", made: Any = None) -> Iterator[tuple[str, list[Setting]]]:
    """Every section's key, such as `lat.training` or "" for the top, with its settings, outermost first."""
    settings = settings_of(owner, made)
    yield prefix, settings
    for one in settings:
        if one.section is not None:
            default = one.default if isinstance(one.default, one.section) else None
            yield from walk(one.section, f"{prefix}.{one.name}" if prefix else one.name, default)
