"""Any file with one thing wrong is refused with one line that names it, soon and in little memory, or read as something sound."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from mutations import Mutant, examples, mutants
from parquet_mutations import tables
from trust.legal_documents import DOCUMENTS
from trust.legal_imports import IMPORTS, Legal
from trust.one_line import bounded

from lat.core.errors import InputError

LEGAL = {**IMPORTS, **DOCUMENTS}


@pytest.mark.parametrize("name", LEGAL)
def test_a_file_with_one_thing_wrong(name: str, tmp_path: Path) -> None:
    legal = LEGAL[name]
    legal.make(tmp_path)
    path = tmp_path / legal.file
    data = path.read_bytes()
    out = tmp_path / "out"
    out.mkdir()
    says = legal.read(tmp_path, out)

    @examples(legal.share)
    @given(tables(data) if legal.form == "parquet" else mutants(data, legal.form))
    def check(mutant: Mutant) -> None:
        path.write_bytes(mutant.data)
        shutil.rmtree(out)
        out.mkdir()
        read_or_refused(legal, tmp_path, out, mutant, says)

    check()


def read_or_refused(legal: Legal, folder: Path, out: Path, mutant: Mutant, says: object) -> None:
    """Read a mutant: what it says is sound, or one line that names the file has been raised and nothing has been written."""
    refused = ""
    try:
        with bounded():
            found = legal.read(folder, out)
    except InputError as error:
        refused = str(error)
    if refused:
        names_image = "image '" in refused or "annotated images exists" in refused or "too long" in refused
        assert names_image or Path(legal.file).name in refused, refused
        assert refused.isprintable(), refused
        assert {path.name for path in out.iterdir()} <= {"images"}  # those that Waymo has as bytes in a table
    else:
        assert found == says or not mutant.says_the_same
