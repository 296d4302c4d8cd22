"""Write own_data.md, a page with the text and the code of examples/own_data.py, cell by cell.

python docs/make_walk.py
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_data.py"
HEAD = """\
# Your own data from Python

{title}
This page is `examples/own_data.py` in the repository, written by `python docs/make_walk.py`; a test runs that file as it stands:

```bash
{usage}
```

{rest}
"""


def render() -> str:
    """The whole page."""
    source = EXAMPLE.read_text(encoding="utf-8")
    title, usage, rest = (ast.get_docstring(ast.parse(source)) or "").split("\n\n")
    _, *cells = re.split(r"^# %%", source, flags=re.MULTILINE)
    return HEAD.format(title=title, usage=usage, rest=rest) + "".join(f"\n{_rendered(cell)}\n" for cell in cells)


def _rendered(cell: str) -> str:
    """A cell as Markdown: the text of comments, or code."""
    kind, _, body = cell.partition("\n")
    body = body.strip("\n")
    return re.sub(r"^# ?", "", body, flags=re.MULTILINE) if kind.strip() == "[markdown]" else f"```python\n{body}\n```"


if __name__ == "__main__":
    Path(__file__).with_name("own_data.md").write_text(render(), encoding="utf-8")
