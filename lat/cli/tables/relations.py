"""Relations between classes as tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from lat.core.errors import printable
from lat.relations.relation_matrix import RelationMatrix


def print_relations(matrices: Sequence[RelationMatrix]) -> None:
    """Print one table per pair of label spaces."""
    console = Console(highlight=False, markup=False)
    for matrix in matrices:
        console.print(relation_table(matrix))


def relation_table(matrix: RelationMatrix) -> Table:
    """Related classes with type and score, then the classes that stand alone."""
    table = Table(title=f"{matrix.first.name} and {matrix.second.name}", title_justify="left")
    for column in (matrix.first.name, "is", matrix.second.name):
        table.add_column(column)
    table.add_column("score", justify="right")
    related, scores = matrix.related, matrix.scores
    for i, j in related.nonzero().tolist():
        names = matrix.first.class_names[i], matrix.relation_type(i, j).value, matrix.second.class_names[j]
        table.add_row(*map(printable, names), f"{scores[i, j]:.2f}")
    for i in (~related.any(dim=1)).nonzero().flatten().tolist():
        table.add_row(printable(matrix.first.class_names[i]), "alone", "", f"{scores[i, -1]:.2f}")
    for j in (~related.any(dim=0)).nonzero().flatten().tolist():
        table.add_row("", "alone", printable(matrix.second.class_names[j]), f"{scores[-1, j]:.2f}")
    return table
