"""The dataset card of an export for Hugging Face: types for programs; protocol, provenance, figures and licences for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lat.core.documents import parse_json
from lat.core.files import sha256_of_file
from lat.formats.exports.layout import Split
from lat.labels.provenance import ORIGINS
from lat.labels.table import LabelTable

EVALUATION = "evaluation.json"
METHODS = {"transferred": "label_transfer", "pseudo_labels": "pseudo_label"}
"""The method of the labels in a folder of a run."""

_SPLITS = {"val": "validation"}
_ORIGINS = {
    "ground_truth": "a human box of the source",
    "pseudo_label": "what a detector of this protocol found",
    "person": "a person who reviewed the labels",
}
_NAMES = {int(value): name for name, value in ORIGINS.items()}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

_LICENCE = """## Licence

To be filled in before this is published: images and human labels keep the licences of their sources, labels that were made of
them are bound by these too, and the licence of a source may not allow to pass its images on. Name each source here, with its
licence and its citation, and correct `license` above.
"""

_PROTOCOL = """To be filled in: what a box encloses (the visible part or the whole object), from which size on objects are
labelled, and what each class includes.
"""


def card(splits: Sequence[Split], features: Sequence[Mapping[str, Any]]) -> str:
    """`README.md` with a YAML head, as the Hub and `datasets` read it.

    Args:
        splits: the parts of the export.
        features: the types of its columns.
    """
    name = splits[0].dataset.name
    head = yaml.safe_dump(_head(name, splits, features), sort_keys=False, allow_unicode=True)
    sections = [f"# {_plain(name)}\n", _content(splits), _protocol(splits), _provenance(splits), _figures(splits), _LICENCE]
    return f"---\n{head}---\n\n" + "\n".join(filter(None, sections))


def _head(name: str, splits: Sequence[Split], features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    images = sum(len(split.dataset) for split in splits)
    files = [{"split": _SPLITS.get(split.name, split.name), "path": f"images/{split.name}/**"} for split in splits]
    return {
        "pretty_name": name,
        "license": "other",
        "license_name": "those-of-the-sources",
        "task_categories": ["object-detection"],
        "size_categories": [next((size for most, size in _SIZES if images < most), "n>1M")],
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {"features": list(features)},
    }


def _content(splits: Sequence[Split]) -> str:
    rows = [
        [_SPLITS.get(split.name, split.name), len(split.dataset), split.dataset.labels.num_boxes, f"{split.min_score:g}"]
        for split in splits
    ]
    text = (
        "`objects.bbox` is x, y, width and height in pixels of the image, `objects.category` the class. `score` is 1 for what a "
        "person drew or confirmed, and otherwise how sure the label is; boxes below the threshold were left out. "
        "Of what is `iscrowd`, single objects are not told apart.\n"
    )
    return f"{_table(['split', 'images', 'boxes', 'threshold'], rows)}\n{text}"


def _protocol(splits: Sequence[Split]) -> str:
    space, counts = splits[0].dataset.space, Counter[int]()
    for split in splits:
        counts.update(split.dataset.labels.labels.tolist())
    categories = space.categories()
    rows = [[index, one["name"], one["id"], counts[index]] for index, one in enumerate(categories)]
    return f"## Protocol\n\n{_table(['class', 'name', 'category id', 'boxes'], rows)}\n{_PROTOCOL}"


def _provenance(splits: Sequence[Split]) -> str:
    lines = []
    for split in splits:
        for path in split.dataset.labels_files:
            lines.append(f"- `{_SPLITS.get(split.name, split.name)}`: {_plain(path.name)}, SHA-256 `{sha256_of_file(path)}`")
        if info := split.dataset.labels.info:
            lines.append(f"  as its file says: `{json.dumps(info, sort_keys=True)}`" if "`" not in str(info) else "")
    text = "\n".join(filter(None, lines)) + "\n"
    counts = Counter[tuple[str, str]]()
    for split in splits:
        counts.update(_origins(split.dataset.labels))
    if counts:
        rows = [[name, _ORIGINS[name], space, number] for (name, space), number in sorted(counts.items())]
        text += "\n" + _table(["origin", "which is", "label space", "boxes"], rows)
    return f"## Provenance\n\n{text}\n`manifest.json` has the SHA-256 of every image.\n"


def _origins(table: LabelTable) -> dict[tuple[str, str], int]:
    """Number of boxes by origin and label space."""
    if (origins := table.provenance) is None:
        return {}
    pairs, numbers = np.unique(np.stack([origins.origin, origins.space]), axis=1, return_counts=True)
    of_pairs = zip(pairs.T.tolist(), numbers.tolist(), strict=True)
    return {(_NAMES[origin], origins.spaces[space]): number for (origin, space), number in of_pairs}


def _figures(splits: Sequence[Split]) -> str:
    """How good the labels are, by the run that they are of; "" where it does not say."""
    rows = [row for split in splits for path in split.dataset.labels_files for row in _figures_of(path)]
    if not rows:
        return ""
    text = "Of the labels against known ones of the same images, in percent, before any was left out.\n"
    text += "± stands before half of a 95 % interval, from the scatter over images.\n"
    return f"## Figures\n\n{_table(['labels', 'AP', 'AP50', 'AP75', 'images', 'boxes'], rows)}\n{text}"


def _figures_of(path: Path) -> Iterator[list[object]]:
    method, evaluation = METHODS.get(path.parent.name), path.parent.parent / EVALUATION
    if method is None or not evaluation.is_file():
        return
    try:
        found = parse_json(evaluation.read_bytes())["transfer"]
    except (OSError, ValueError, LookupError, TypeError):
        return
    for one in found:
        if (f"{one.get('source')}.{one.get('target')}", one.get("method")) == (path.stem, method):
            aps = [_ap(one, key) for key in ("ap", "ap50", "ap75")]
            yield [path.stem, *aps, one.get("images"), one.get("boxes")]


def _ap(row: Mapping[str, Any], key: str) -> str:
    """A figure and its margin, half of the 95 % interval over images, where they are known."""
    ap, margin = row.get(key), row.get(f"{key}_margin")
    return "-" if ap is None else f"{ap:.1f}" + ("" if margin is None else f" ± {margin:.1f}")


def _table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "".join("| " + " | ".join(_plain(str(one)) for one in line) + " |\n" for line in lines)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    text = "".join(one if one.isprintable() else " " for one in text)
    return "".join(f"\\{one}" if one in "\\`*_[]<>|#" else one for one in text)
