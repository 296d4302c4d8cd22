"""What all pages share."""

from __future__ import annotations

import pytest

from lat.report.page import with_code


@pytest.mark.parametrize(
    ("sentence", "html"),
    [
        ("boxes of `car` in `nu` end", "boxes of <code>car</code> in <code>nu</code> end"),
        ("`<b>` & so on", "<code>&lt;b&gt;</code> &amp; so on"),
        ("a name with ` and <i>", "a name with ` and &lt;i&gt;"),
        ("", ""),
    ],
)
def test_names_between_backticks_are_code_and_all_text_is_escaped(sentence: str, html: str) -> None:
    assert str(with_code(sentence)) == html
