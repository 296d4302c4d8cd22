"""What `make audit` says of what pip-audit has found."""

from __future__ import annotations

import pytest
from audit import tell

SOUND = {"name": "a", "version": "1", "vulns": []}
WRONG = {
    "name": "b",
    "version": "2",
    "vulns": [{"id": "CVE-1", "fix_versions": ["2.1", "3"]}, {"id": "CVE-2", "fix_versions": []}],
}
UNKNOWN = {"name": "c", "skip_reason": "is not there"}


def test_sound_packages_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell([SOUND]) == 0
    assert capsys.readouterr().out == "audit: 1 packages looked up, 0 known vulnerabilities\n"


def test_a_known_vulnerability_is_told_with_what_mends_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell([SOUND, WRONG, UNKNOWN]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "b 2: CVE-1; mended in 2.1, 3",
        "b 2: CVE-2; mended in no version yet",
        "audit: 2 packages looked up, 2 known vulnerabilities",
        "audit: 1 packages are not in the database: c",
    ]


def test_a_database_that_knows_nothing_has_not_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell([UNKNOWN, UNKNOWN]) == 2
    assert "it knows none of 2 packages" in capsys.readouterr().err
