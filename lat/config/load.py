"""Reading the settings of a run: one YAML file plus `key=value` options on the command line.

Every option has one home: a field with its default and a comment in a frozen dataclass in the room of the class that it
configures. Reading them imports neither torch nor what needs it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any, get_args, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from lat.config.places import is_any_missing, placed, refuse_old_places
from lat.config.renamed import refuse_old_keys, without_constants
from lat.config.schema import Config
from lat.config.shapes import refuse_wrong_shapes
from lat.core.documents import check_yaml, read_yaml_text
from lat.core.errors import InputError, did_you_mean, looked_for
from lat.core.remote import as_path, fetched, is_file, is_remote, name_of

__all__ = ["Config", "config_from", "load_config"]

_SHOWN = 80  # characters of what cannot be read


MADE_WITH = "config.yaml"
"""The file in a run's folder with the settings that it was made with."""


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, apply `key=value` options, check everything.

    Paths in the file count from its folder; those of options, and of a file at a URL, from the working directory.

    Args:
        path: the file; or the folder of a run, for the settings that it was made with, in the place where it lies now. Either may
            be a URL.
        overrides: the options.

    Raises:
        InputError: if the file is missing or not YAML, a key is unknown (the nearest known one is suggested) or has another
            name now, or a value has the wrong type or is out of range, or a path is there from the working directory alone.
    """
    if url := name_of(path) if is_remote(path) else _url_in(path):
        return _load_from(url, overrides)
    if path.is_dir():
        if not (path / MADE_WITH).is_file():
            raise InputError(path, f"is a folder without {MADE_WITH}: no run", "name a configuration file or the folder of a run")
        return load_config(path / MADE_WITH, [f"output_dir={json.dumps(str(path))}", *overrides])
    if not path.exists():
        raise InputError(path, f"there is no such configuration file{looked_for(path)}", "check the path")
    return _load_file(path, overrides, path.parent)


def _load_file(path: Path, overrides: Sequence[str], folder: Path = Path()) -> Config:
    """The settings in a file, whose paths count from `folder`."""
    text = read_yaml_text(path)
    try:
        check_yaml(path, text)
        written = OmegaConf.load(StringIO(text))
    except (YAMLError, ValueError, ArithmeticError, RecursionError, OmegaConfBaseException, OSError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise InputError(path, f"is not valid YAML ({line}{_first_line(error)})", "correct the file") from None
    if not isinstance(written, DictConfig):
        raise InputError(path, "contains no settings", "write `key: value` lines")
    written = without_constants(written)
    content = _raw(written)
    if _is_of_older_version(path, content):
        folder = Path()
    config = _resolve(OmegaConf.create(placed(content, folder)), overrides, path)
    if folder != Path() and is_any_missing(config.to_dict()):
        _refuse_old_places(config, written, overrides, path)
    return config


def _raw(written: DictConfig) -> dict[str, Any]:
    """The content of a file as it is written, and the default paths, which count from the same folder."""
    content: Any = OmegaConf.to_container(written, resolve=False)
    return {"output_dir": Config.output_dir, "data_root": Config.data_root, **content}


def _is_of_older_version(path: Path, content: Mapping[str, Any]) -> bool:
    """True for the settings in a run's folder as they were once written, with paths that count from the working directory."""
    return path.name == MADE_WITH and content["output_dir"] != "." and (path.parent / ".state").is_dir()


def _refuse_old_places(config: Config, written: DictConfig, overrides: Sequence[str], path: Path) -> None:
    """Raise an `InputError` if the settings name a file or a run that is there from the working directory alone."""
    before = _resolve(OmegaConf.create(_raw(written)), overrides, path)
    refuse_old_places(config.to_dict(), before.to_dict(), path)


def _url_in(path: Path) -> str:
    """The URL that a path was made of, which has lost a slash; "" for none, or if there is such a path."""
    match = re.fullmatch(r"([a-z][a-z0-9+.-]+):/+(.+)", str(path), re.DOTALL)
    return f"{match[1]}://{match[2]}" if match and not path.exists() else ""


def _load_from(url: str, overrides: Sequence[str]) -> Config:
    """The settings in a file at a URL, or of the run whose folder is there."""
    path = as_path(url)
    for one, place in ((path / MADE_WITH, [f"output_dir={json.dumps(url)}"]), (path, [])):
        if is_file(one):
            return _load_file(fetched(one, renew=True), [*place, *overrides])
    raise InputError(url, f"there is no such file, and no run's {MADE_WITH} below it", "name a configuration or a run's folder")


def config_from(content: Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """Build a configuration from the content of such a file, with paths that count from the working directory.

    Raises:
        InputError: as for `load_config`.
    """
    try:
        return _resolve(OmegaConf.create(dict(content)), overrides, "configuration")
    except OmegaConfBaseException as error:
        raise InputError("configuration", _first_line(error), "use plain types") from None


def _resolve(written: DictConfig, overrides: Sequence[str], where: object) -> Config:
    for override in overrides:
        if not re.match(r"[A-Za-z_][\w.\[\]]*=", override):
            raise InputError(where, f"the option '{override}' is not key=value", "write, for example, seed=1")
    try:
        for override in overrides:
            check_yaml(f"the option '{override[:_SHOWN]}'", override.partition("=")[2])
        options = OmegaConf.from_dotlist(list(overrides))
    except (YAMLError, ValueError, ArithmeticError, AttributeError, IndexError, TypeError, OmegaConfBaseException) as error:
        raise InputError(where, f"an option has no value ({_first_line(error)[:_SHOWN]})", "write, for example, seed=1") from None
    try:
        refuse_old_keys(written, where, "there")
        refuse_old_keys(options, where, "in the option")
        for given in (written, options):
            refuse_wrong_shapes(Config, _plain(given), where)
        resolved = OmegaConf.merge(_schema(), written, options)
        content = OmegaConf.to_container(resolved, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise InputError(where, *_explain(error)) from None
    except (ArithmeticError, MemoryError, RecursionError, ValueError) as error:  # as for a number of a thousand digits
        raise InputError(where, f"a value cannot be used ({_first_line(error)[:_SHOWN]})", "correct it") from None
    _check_numbers(where, content)
    assert isinstance(content, dict)
    try:
        config = _made(Config, content)
    except InputError as error:
        raise InputError(where, f"{error.where} {error.what}", error.remedy) from None
    assert isinstance(config, Config)
    return config


def _plain(given: DictConfig) -> dict[Any, Any]:
    content: Any = OmegaConf.to_container(given, resolve=False)
    return content if isinstance(content, dict) else {}


def _made(owner: Any, content: Mapping[Any, Any]) -> Any:
    """The dataclass of checked plain values, its sections first; errors name a section's values with the name of the section."""
    kinds, values = get_type_hints(owner), {}
    for one in fields(owner):
        kind, value = kinds[one.name], content[one.name]
        if is_dataclass(kind) and isinstance(kind, type):
            try:
                value = _made(kind, value)
            except InputError as error:
                raise InputError(f"{one.name}.{error.where}", error.what, error.remedy) from None
        elif isinstance(value, list) and (parts := [each for each in get_args(kind) if is_dataclass(each)]):
            value = [_made(parts[0], entry) for entry in value]  # an entry names itself
        values[one.name] = value
    return owner(**values)


def _check_numbers(where: object, value: Any, name: str = "") -> None:
    """Raise an `InputError` for a whole number that needs more than 64 bits."""
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            _check_numbers(where, one, f"{name}.{key}".lstrip("."))
    elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise InputError(where, f"'{name}' is {value:.3g}", "write a number of at most 64 bits")


def _schema() -> DictConfig:
    """The structured defaults, writable: frozen dataclasses give read-only nodes, into which nothing can be merged."""
    schema: DictConfig = OmegaConf.structured(Config)
    _thaw(schema)
    return schema


def _thaw(node: DictConfig) -> None:
    OmegaConf.set_readonly(node, None)
    for key in node:
        child = None if OmegaConf.is_missing(node, key) else node[key]
        if isinstance(child, DictConfig):
            _thaw(child)


def _explain(error: OmegaConfBaseException) -> tuple[str, str]:
    """What is wrong and what to do, from an error of the configuration library."""
    key = str(error.full_key or error.key or "")
    owner = error.object_type if is_dataclass(error.object_type) else Config
    if isinstance(error, ConfigKeyError | ConfigAttributeError):
        return f"there is no setting '{key}'", _nearest(str(error.key), owner)
    return f"'{key}': {_first_line(error)}", "correct the value"


def _nearest(name: str, owner: Any) -> str:
    """The remedy for an unknown key of a section: the nearest one that stands there or in a part of it."""
    known = {one.name: one.name for one in sorted(fields(owner), key=lambda one: one.name)}
    kinds = get_type_hints(owner)
    for part in list(known):
        if isinstance(kinds[part], type) and is_dataclass(kinds[part]):
            known |= {one.name: f"{part}.{one.name}" for one in fields(kinds[part]) if one.name not in known}
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.8)
    return f"did you mean '{known[nearest[0]]}'?" if nearest else did_you_mean(name, [one.name for one in fields(owner)])


def _first_line(error: Exception) -> str:
    return " ".join(str(error).splitlines()[:1]) or type(error).__name__
