"""The lowest versions that setup.py allows, as constraints for pip: python tests/oldest_versions.py > constraints.txt"""

from __future__ import annotations

import re
from pathlib import Path

import setuptools  # noqa: F401  (first: it brings the distutils that setup.py runs under)

SETUP = Path(__file__).parents[1] / "setup.py"
EXTRAS = ("detr", "labels", "waymo")  # what the unit tests use beside the required packages


def oldest(requirements: list[str]) -> list[str]:
    """Turn each `name>=X` or `name>=X,<Y` into `name==X`.

    Raises:
        ValueError: a requirement has no lower bound, or more than one.
    """
    pins = []
    for requirement in requirements:
        name, lower = re.match(r"[\w.-]+", requirement), re.findall(r">=([\w.]+)", requirement)
        if name is None or len(lower) != 1:
            raise ValueError(f"{requirement}: needs one lower bound, as in 'name>=1.2'")
        pins.append(f"{name[0]}=={lower[0]}")
    return pins


def declared() -> list[str]:
    """The requirements of setup.py, and those of the extras that the unit tests use."""
    from distutils.core import run_setup

    distribution = run_setup(str(SETUP), stop_after="init")
    return [*distribution.install_requires, *(one for extra in EXTRAS for one in distribution.extras_require[extra])]


if __name__ == "__main__":
    print("\n".join(oldest(declared())))
