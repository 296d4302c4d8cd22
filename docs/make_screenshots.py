"""Take the pictures of the report for these pages, with Playwright and Debian's Chromium.

    python docs/make_screenshots.py REPORT [COMPARISON]

writes figures/report.jpg, the head of the page REPORT (the index.html of a run, such as that of `make demo`), figures/viewer.jpg,
its most doubtful image, and figures/compare.jpg, the pictures of the page COMPARISON (the index.html of `lat compare`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import ViewportSize, sync_playwright

CHROMIUM = "/usr/bin/chromium"
SIZE = ViewportSize(width=1280, height=960)


def main(report: Path, comparison: Path | None = None) -> None:
    """Write the pictures next to this file."""
    figures = Path(__file__).parent / "figures"
    figures.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=SIZE)
        page.goto(report.resolve().as_uri())
        page.screenshot(path=figures / "report.jpg", type="jpeg", quality=80)
        page.locator(".card-button").first.click()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=figures / "viewer.jpg", type="jpeg", quality=80)
        if comparison is not None:
            page.goto(comparison.resolve().as_uri())
            page.locator("#pictures").evaluate("section => section.scrollIntoView({behavior: 'instant'})")
            page.wait_for_load_state("networkidle")
            page.screenshot(path=figures / "compare.jpg", type="jpeg", quality=80)
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
