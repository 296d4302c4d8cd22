"""What a newcomer meets first: the README and the files beside it lead somewhere, are valid, and agree with each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import lat

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "datasets/README.md", "docker/README.md"]
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
TEMPLATES = ".github/ISSUE_TEMPLATE"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    links = [link for link in LINK.findall(read(page)) if not link.startswith("https://")]
    assert not [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]


def test_the_readme_stays_a_front_door() -> None:
    assert len(read("README.md").splitlines()) <= 130


def test_every_page_is_in_the_index_and_in_the_navigation_in_the_same_order() -> None:
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    index = re.findall(r"\]\((\w+\.md)\)", read("docs/index.md"))
    navigation = re.findall(r": (\w+\.md)$", read("mkdocs.yml"), re.MULTILINE)
    assert set(index) == pages
    assert navigation == ["index.md", *index]


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ("vendor.citation-file-format", "CITATION.cff"),
        ("vendor.github-issue-config", f"{TEMPLATES}/config.yml"),
        ("vendor.github-issue-forms", f"{TEMPLATES}/bug_report.yml"),
        ("vendor.github-issue-forms", f"{TEMPLATES}/feature_request.yml"),
    ],
)
def test_files_follow_their_schema(schema: str, name: str) -> None:
    tool = shutil.which("check-jsonschema", path=str(Path(sys.executable).parent))
    if tool is None:
        pytest.skip("check-jsonschema is not installed")
    done = subprocess.run([tool, "--builtin-schema", schema, name], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hooks_download_nothing_and_do_what_make_lint_does() -> None:
    repositories = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    hooks = [hook for repository in repositories for hook in repository["hooks"]]
    assert {repository["repo"] for repository in repositories} == {"local"}
    assert {hook["language"] for hook in hooks} == {"system"}
    lint = re.findall(r"^\t\$\(BIN\)/(.+)$", read("Makefile").partition("\nlint:")[2].partition("\n\n")[0], re.MULTILINE)
    commands = [hook["entry"].removeprefix(".venv/bin/").replace(" --force-exclude", "") for hook in hooks]
    assert commands == [line.removesuffix(" .") for line in lint]


def test_the_version_is_the_same_everywhere() -> None:
    (declared,) = re.findall(r'^    version="(.+)",$', read("setup.py"), re.MULTILINE)
    released = re.findall(r"^## \[(\d[^\]]*)\] - (\d{4}-\d\d-\d\d)$", read("CHANGELOG.md"), re.MULTILINE)[0]
    citation = yaml.safe_load(read("CITATION.cff"))
    assert declared == lat.__version__
    assert released == (declared, str(citation["date-released"]))
    assert citation["version"] == declared
    assert f"/lat:{declared}\n" in read("docker/kubernetes_job.yaml")


def test_every_module_that_the_page_of_the_house_names_is_there() -> None:
    named = set(re.findall(r"`(lat/[\w/]+(?:\.py|/))`", read("docs/architecture.md")))
    assert len(named) > 30
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_the_page_of_the_house_names_every_room() -> None:
    rooms = {f"lat/{path.name}/" for path in (ROOT / "lat").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms - set(re.findall(r"^\| `(lat/\w+/)` \|", read("docs/architecture.md"), re.MULTILINE)) == set()
