"""Look all installed packages up in a database of known vulnerabilities; says in one line if there is none to ask."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

AUDIT = (sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--progress-spinner", "off", "--timeout", "15")
NO_ANSWER = ("ConnectionError", "ConnectionRefused", "Max retries", "ServiceError", "Name or service", "timed out", "HTTPError")


def main() -> int:
    """Status 0 if nothing is known, 1 if something is, 2 if nobody could be asked or nothing was answered."""
    found = subprocess.run((*AUDIT, "--format", "json"), capture_output=True, text=True, check=False)
    if found.returncode and any(said in found.stderr for said in NO_ANSWER):
        return _no_answer(found.stderr.strip().splitlines()[-1][:200])
    try:
        packages = json.loads(found.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(found.stdout + found.stderr, end="")
        return found.returncode or 2
    return tell(packages)


def tell(packages: list[dict[str, Any]]) -> int:
    """Print what is known of packages, as pip-audit lists them, and return the status."""
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    if len(skipped) == len(packages):
        return _no_answer(f"it knows none of {len(packages)} packages")
    known = [(one, vulnerability) for one in packages for vulnerability in one.get("vulns", ())]
    for one, vulnerability in known:
        mended = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        print(f"{one['name']} {one['version']}: {vulnerability['id']}; mended in {mended}")
    print(f"audit: {len(packages) - len(skipped)} packages looked up, {len(known)} known vulnerabilities")
    if skipped:
        print(f"audit: {len(skipped)} packages are not in the database: {', '.join(skipped)}")
    return 1 if known else 0


def _no_answer(reason: str) -> int:
    print(f"audit: no database of vulnerabilities could be asked ({reason})", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
