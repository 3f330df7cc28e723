"""Candidate rows as bytes: one Arrow stream for each batch, compressed as a whole by zstd.

Arrow can compress each column for itself; for a few hundred rows of a hundred columns that costs three
times as much and saves less. What the rows mean is not known here.
"""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from astrid.errors import StoreError

__all__ = ["decoded", "encoded"]

_LEVEL = 3


def encoded(rows: pa.Table) -> bytes:
    """The bytes of a table."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return bytes(pa.Codec("zstd", _LEVEL).compress(sink.getvalue(), asbytes=True))


def decoded(content: bytes, columns: Collection[str] | None = None) -> pa.Table:
    """The table of the bytes.

    Parameters
    ----------
    content : bytes
    columns : collection of str, optional
        Those that are wanted, in the order of the table; those that it has not are left out.

    Raises
    ------
    StoreError
        The bytes are damaged.
    """
    try:
        stream = pa.CompressedInputStream(pa.BufferReader(content), "zstd")
        # whole, before columns are chosen: Arrow chooses by number, and numbers are known from the schema
        reader = pa.ipc.open_stream(stream)
        table = reader.read_all()
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"stored candidate rows are damaged ({error}); restore the database from a copy"
        ) from error
    if columns is None:
        return table
    return table.select([name for name in table.column_names if name in columns])
