"""The same table is the same rows in every format."""

from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn, Table
from astropy.utils.masked import Masked

from astrid.catalogs import source
from astrid.catalogs.source import open_source
from astrid.errors import CatalogError

ROWS = {"name": ["a", "b, c", "d"], "ra": [1.5, 2.5, 359.25], "dec": [-8.5, 0.0, 89.5], "n": [1, None, 3]}


def write(path, kind):
    table = Table(
        {"name": ROWS["name"], "ra": ROWS["ra"], "dec": ROWS["dec"]}, units={"ra": "deg", "dec": "deg"}
    )
    table["n"] = MaskedColumn([1, 0, 3], mask=[False, True, False], description="how many")
    if kind == "parquet":
        pq.write_table(pa.table(ROWS), path)
    elif kind == "psql":
        lines = [" name | ra | dec | n ", "------+----+-----+---"]
        lines += [f" {a} | {b} |{c}| {d or ''}" for a, b, c, d in zip(*ROWS.values(), strict=True)]
        path.write_text("\n".join([*lines, "(3 rows)", ""]))
    elif kind == "csv":
        table.write(path, format="ascii.csv")
    elif kind == "tsv":
        path.write_text("# a comment, with commas\n#\n" + "\n".join(
            "\t".join(map(str, row)) for row in [list(ROWS), *zip(*ROWS.values(), strict=True)]
        ).replace("None", "") + "\n")  # fmt: skip
    else:
        formats = {"ecsv": "ascii.ecsv", "fits": "fits", "vot": "votable"}
        table.write(path, format=formats[kind])


@pytest.mark.parametrize("kind", ["parquet", "psql", "csv", "tsv", "ecsv", "fits", "vot"])
def test_every_format_gives_the_same_rows(tmp_path, kind):
    path = tmp_path / f"table.{'txt' if kind == 'psql' else kind}"
    write(path, kind)
    with open_source(path) as table:
        assert table.n_rows == 3
        read = pa.Table.from_batches(table.batches())
    assert read.schema.equals(table.schema)
    assert read.to_pydict() == ROWS
    if kind in ("ecsv", "fits", "vot"):
        assert table.schema.field("ra").metadata[b"unit"] == b"deg"


def test_a_compressed_table_is_read_as_it_is(tmp_path):
    write(tmp_path / "table.csv", "csv")
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress((tmp_path / "table.csv").read_bytes()))
    with open_source(path) as table:
        assert pa.Table.from_batches(table.batches()).to_pydict() == ROWS


def test_a_column_that_only_later_proves_to_be_text_is_text_throughout(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "_BLOCK", 400)
    path = tmp_path / "table.csv"
    values = ["1"] * 200 + ["2.5"] * 200 + ["x"]
    path.write_text("ra,dec,v,w\n" + "".join(f"1,2,{v},{min(k, 300) / 2:g}\n" for k, v in enumerate(values)))
    with open_source(path) as table:
        read = pa.Table.from_batches(table.batches())
    assert read.column("v").to_pylist() == values
    assert read.schema.field("w").type == pa.float64()


def test_a_fits_table_in_parts_is_the_whole_table(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "_ROWS", 7)
    rng = np.random.default_rng(0)
    whole = Table(
        {"ra": rng.uniform(0, 360, 20), "v": rng.normal(size=(20, 3)).astype("f4"), "b": [True] * 20}
    )
    whole.write(tmp_path / "table.fits")
    with open_source(tmp_path / "table.fits") as table:
        batches = list(table.batches())
    assert [batch.num_rows for batch in batches] == [7, 7, 6]
    read = pa.Table.from_batches(batches)
    assert np.array_equal(read["ra"].to_numpy(), whole["ra"])
    assert np.array_equal(np.array(read["v"].to_pylist(), "f4"), whole["v"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("no.csv", None, "no such file"), ("t.doc", b"x", "not known by its suffix"),
        ("t.parquet", b"PAR1 no", "cannot be read as .parquet"), ("t.fits", b"no", "cannot be read as .fits"),
        ("t.csv", b"one column\n1\n", "no commas"), ("t.csv", b"a,a\n1,2\n", "two columns are called 'a'"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read as .csv"), ("t.ecsv", b"a b\n1 2\n", "as .ecsv"),
        ("t.txt", b"a | b\n--+--\n1 | 2 | 3\n", "line 3 has 3 fields and the header 2"),
        ("t.csv.gz", b"not gzip", "cannot be read"),
        ("t.csv", b"a,b\n\xff\xfe,2\n", "cannot be read as .csv"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CatalogError, match=said) as problem, open_source(tmp_path / name) as table:
        list(table.batches())
    assert name in str(problem.value)


def test_quantities_with_a_mask_keep_their_gaps(tmp_path):
    table = Table({"ra": [1.0, 2], "dec": [1.0, 2]})
    table["v"] = Masked(np.array([1.0, 2.0]), mask=[True, False])
    table.write(tmp_path / "t.ecsv", format="ascii.ecsv")
    with open_source(tmp_path / "t.ecsv") as read:
        assert next(read.batches()).column("v").to_pylist() == [None, 2.0]
