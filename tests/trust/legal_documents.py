"""Legal files of relations, class shares, class maps and settings, each with what reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from factories import label_space, write_json
from torch import Tensor
from trust.legal_imports import Legal

from lat.baselines.class_map import read_class_map
from lat.config.load import load_config
from lat.labelling.answers import read_answers
from lat.labelling.share_table import overridden_by_table, read_share_table
from lat.relations.relation_matrix import RelationMatrix
from lat.relations.reviewed_file import from_yaml, to_yaml
from lat.stages.shared.relation_files import read_relation_content

CITY, WAY = label_space("city", ("car", "größe")), label_space("way", ("vehicle", "rider", "sign"))
RELATIONS = RelationMatrix(
    CITY,
    WAY,
    torch.tensor([[0.75, 0.0, 0.0, 0.25], [0.0, 0.5, 0.0, 0.5]]),
    torch.tensor([[1.0, 0, 0], [0, 0.25, 0.75], [0, 0, 1]]),
)
SHARES = "way:\n  city:\n    vehicle: {car: 0.75, größe: 0.125}\n    rider: [größe, car]\n    sign: []\n"
CLASS_MAP = "way:\n  vehicle: car\n  rider: größe\n  sign: null\n"
CONFIG = (
    "seed: 1\ntarget: all\nrounds: {count: 0}\n"
    "datasets:\n  - {name: a, images: data/a, annotations: a.json}\n  - name: b\n    images: data/b\n    annotations: b.json\n"
    "upstream:\n  model: {backbone: small, weights: none, image_size: 256}\n  training: {learning_rate: 0.001}\n"
)


def text(content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "mine.yaml").write_text(content, encoding="utf-8")


def read_relations(folder: Path, out: Path) -> object:
    """Check that what was read can stand for the relations of the two spaces in both directions."""
    return [said(matrix) for matrix in from_yaml(folder / "mine.yaml", [CITY, WAY])]


def said(matrix: RelationMatrix) -> dict[str, Any]:
    for source in (matrix.first, matrix.second):
        check_shares(matrix.class_shares_of(source.name))
    return matrix.to_dict()


def check_shares(shares: Tensor) -> None:
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(len(shares)))
    assert ((shares >= 0) & (shares <= 1)).all()


def read_shares(folder: Path, out: Path) -> object:
    found = read_share_table(folder / "mine.yaml", {"city": CITY, "way": WAY})
    for (source, target), rows in found.items():
        sizes = {"city": len(CITY), "way": len(WAY)}
        counted = torch.full((sizes[source], sizes[target] + 1), 1 / (sizes[target] + 1))
        check_shares(overridden_by_table(counted, rows))
    return {pair: {i: row.tolist() for i, row in rows.items()} for pair, rows in found.items()}


def read_said(folder: Path, out: Path) -> object:
    found = read_answers(folder / "mine.yaml", {"city": CITY, "way": WAY})
    for one in found.values():
        equal = torch.full((len(one.source), len(one.target) + 1), 1 / (len(one.target) + 1))
        check_shares(one.overriding(equal, equal))
    return {pair: one.to_dict() for pair, one in found.items()}


def read_map(folder: Path, out: Path) -> object:
    target_of = read_class_map(folder / "mine.yaml", WAY, CITY)
    assert target_of.shape == (len(WAY),)
    assert ((target_of >= -1) & (target_of < len(CITY))).all()
    return target_of.tolist()


def make_relations_of_a_run(folder: Path) -> None:
    write_json(folder / "city.way.json", RELATIONS.to_dict())


def read_relations_of_a_run(folder: Path, out: Path) -> object:
    return said(RelationMatrix.from_dict(read_relation_content(folder / "city.way.json")))


def read_config(folder: Path, out: Path) -> object:
    return asdict(load_config(folder / "mine.yaml"))


DOCUMENTS = {
    "relations": Legal(text(to_yaml([RELATIONS])), "mine.yaml", "yaml", read_relations),
    "relations of a run": Legal(make_relations_of_a_run, "city.way.json", "json", read_relations_of_a_run),
    "class prior": Legal(text(SHARES), "mine.yaml", "yaml", read_shares),
    "answers": Legal(text(SHARES), "mine.yaml", "yaml", read_said),
    "class map": Legal(text(CLASS_MAP), "mine.yaml", "yaml", read_map),
    "configuration": Legal(text(CONFIG), "mine.yaml", "yaml", read_config, 0.2),
}
