"""Take the pictures of the report for these pages, with Playwright and Debian's Chromium.

    python docs/make_screenshots.py REPORT    (REPORT: the index.html of a run, such as that of `make demo`)

writes figures/report.jpg, the head of the page, and figures/viewer.jpg, its most doubtful image.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import ViewportSize, sync_playwright

CHROMIUM = "/usr/bin/chromium"
SIZE = ViewportSize(width=1280, height=960)


def main(report: Path) -> None:
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
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
