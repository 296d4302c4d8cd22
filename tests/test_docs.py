"""The pages: they build without a warning, ask no other host for anything, and say what the code says."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOADED = re.compile(
    r"""<(?:script|img|iframe)[^>]*\ssrc=["']?(?:https?:)?//|<link[^>]*rel=["']?(?:stylesheet|preload|icon)[^>]*href=["']?https?://"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_every_page_is_built(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in site.glob("*.html")}
    assert not list(site.rglob("*.py"))


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    assert LOADED.search('<script src="https://a.b/c.js">')
    assert LOADED.search('<link rel="stylesheet" href="https://a.b/c.css">')
    for page in site.rglob("*.html"):
        assert not LOADED.search(page.read_text(encoding="utf-8")), page.name


def test_equations_are_drawn_without_a_script(site: Path) -> None:
    page = (site / "how_it_works.html").read_text(encoding="utf-8")
    assert page.count('display="block"') == 3
    assert "<msqrt>" in page
    assert "$$" not in page


def test_the_page_of_settings_is_that_of_the_code() -> None:
    rendered = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))["render"]()
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == rendered, "run `python docs/make_settings.py`"
