"""The tables of the database, the same for SQLite and PostgreSQL.

What is here is what the newest migration ends with, which a test compares; nothing is created from here.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

__all__ = ["alerts", "batches", "buffers", "bundles", "filters", "metadata", "passes", "scores", "snapshots"]

metadata = MetaData()

# Times are seconds since 1970 (UTC) as double precision, in which the two databases agree exactly.

batches = Table(
    "batches",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # counts commits, without gaps
    # made by the writer: tells after a lost connection whether its COMMIT has arrived
    Column("token", Text, nullable=False, unique=True),
    Column("worker", Text, nullable=False),
    Column("started", Double),
    Column("committed", Double, nullable=False),
    Column("n", Integer, nullable=False),
    Column("n_new", Integer, nullable=False),
    Column("n_quarantined", Integer, nullable=False),
    Column("behind", BigInteger),
    Column("latency_p50", Double),  # ms
    Column("latency_p99", Double),  # ms
    Column("filters", JSON, nullable=False),
    # the packets of its new alerts: a file below packets/, in the folder of the latest night among them
    Column("pack", Text),
    Column("pack_night", Text),
    Column("pack_bytes", BigInteger),
    Column("pack_removed", Double),
)

alerts = Table(
    "alerts",
    metadata,
    Column("survey", Text, primary_key=True),
    Column("alert_id", Text, primary_key=True),
    Column("object_id", Text),
    Column("ra", Double),  # deg
    Column("dec", Double),  # deg
    Column("healpix", BigInteger),  # nested, order 29
    Column("mjd", Double),
    Column("night", Text),
    Column("band", Text),
    Column("magpsf", Double),
    Column("batch", Integer, nullable=False),
    Column("packet", LargeBinary, nullable=False),  # SHA-256 of its bytes
    Column("suffix", Text, nullable=False),
    Column("pack_offset", BigInteger, nullable=False),
    Column("pack_length", BigInteger, nullable=False),
    Index("alerts_object", "object_id"),
    Index("alerts_healpix", "healpix"),
    sqlite_with_rowid=False,  # one B-tree instead of two
)

bundles = Table(
    "bundles",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False),
    UniqueConstraint("name", "hash"),
)

scores = Table(
    "scores",
    metadata,
    Column("survey", Text, primary_key=True),
    Column("alert_id", Text, primary_key=True),
    Column("bundle", Integer, primary_key=True, autoincrement=False),  # its id: name and hash are long
    Column("label", Text, primary_key=True),
    Column("value", Double),
    Column("spread", Double),
    Column("decision", Text),
    Column("set", Text),
    Column("applicable", Text),
    Column("unscored", Text),
    sqlite_with_rowid=False,
)

filters = Table(
    "filters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("hash", Text, primary_key=True),
    Column("definition", JSON, nullable=False),
    Column("created", Double, nullable=False),
    Column("active", Boolean, nullable=False),
)

passes = Table(
    "passes",
    metadata,
    Column("filter", Text, primary_key=True),
    Column("hash", Text, primary_key=True),
    Column("survey", Text, primary_key=True),
    Column("alert_id", Text, primary_key=True),
    Column("batch", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("delivered_at", Double),
    # until when a publisher has it for itself: two of them do not send the same
    Column("claimed_until", Double),
    Index(
        "passes_pending",
        "batch",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    sqlite_with_rowid=False,
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("batch", Integer, primary_key=True, autoincrement=False),
    Column("night", Text, primary_key=True),
    Column("n", Integer, nullable=False),
    Column("part", Text),  # the file below tables/ that has these rows, once the night is closed
    Index("snapshots_night", "night"),
    sqlite_with_rowid=False,
)

buffers = Table(
    "buffers",
    metadata,
    Column("batch", Integer, primary_key=True, autoincrement=False),
    Column("rows", LargeBinary, nullable=False),  # Arrow IPC; gone when all nights in it are closed
)
