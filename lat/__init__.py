"""Label-Aligned Transfer: move object-detection labels between datasets whose class lists and box conventions differ.

`lat.run`, `lat.transfer`, `lat.check`, `lat.compare`, `lat.conventions`, `lat.questions`, `lat.export`, `lat.import_` and
`lat.load_labels` are the whole Python interface; see `lat.api`. They raise `lat.InputError` for invalid input. Nothing heavy is
imported until one of them is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lat.api import (
        Check,
        ImageLabels,
        Labels,
        Run,
        check,
        compare,
        conventions,
        export,
        import_,
        load_labels,
        questions,
        run,
        transfer,
    )
    from lat.core.errors import InputError

__version__ = "0.2.0"
__all__ = ["Check", "ImageLabels", "InputError", "Labels", "Run", "__version__"]
__all__ += ["check", "compare", "conventions", "export", "import_", "load_labels", "questions", "run", "transfer"]


def __getattr__(name: str) -> Any:
    if name == "InputError":
        from lat.core.errors import InputError

        return InputError
    if name in __all__:
        import lat.api

        return getattr(lat.api, name)
    raise AttributeError(f"module 'lat' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
