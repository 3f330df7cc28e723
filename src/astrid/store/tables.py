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

__all__ = [
    "alerts",
    "assignments",
    "audit",
    "batches",
    "buffers",
    "bundles",
    "filters",
    "labels",
    "metadata",
    "passes",
    "profiles",
    "queue",
    "scores",
    "sessions",
    "snapshots",
    "tokens",
    "trainings",
    "users",
]

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

users = Table(
    "users",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),  # viewer, labeller, admin
    Column("password", Text),  # as argon2 writes it; null: only tokens open this account
    Column("created", Double, nullable=False),
    Column("active", Boolean, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user", Text, nullable=False),
    Column("name", Text, nullable=False),  # what its owner calls it
    Column("hash", Text, nullable=False, unique=True),  # SHA-256: the token itself is shown once
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("used", Double),
    Column("revoked", Double),
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", Text, primary_key=True),  # SHA-256 of what the cookie holds
    Column("user", Text, nullable=False),
    Column("csrf", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("user", Text, nullable=False),
    Column("action", Text, nullable=False),  # "user.add", "filter.save", ...
    Column("subject", Text, nullable=False),  # what was changed
    Column("detail", JSON, nullable=False),
    Index("audit_at", "at"),
)

# What people said: rows are added and never changed, but for `undone`.
labels = Table(
    "labels",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", Text, nullable=False, unique=True),  # made by the page: the same answer sent twice is one
    Column("task", Text, nullable=False),
    Column("survey", Text, nullable=False),
    Column("alert_id", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("answer", Text, nullable=False),  # label, unsure, skip
    Column("label", Text),  # null unless the answer is a label
    Column("tags", JSON, nullable=False),  # list of text
    Column("note", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("seconds", Double),  # from seeing it to answering
    Column(
        "slot", Text, nullable=False
    ),  # why it was in the queue: uncertain, novel, random, asked, imported
    Column("blind", Boolean, nullable=False),  # one of several answers asked of different people
    Column(
        "shown", Boolean, nullable=False
    ),  # whether the model's opinion was on the screen before the answer
    Column("bundle", Text),  # its name, hash and score for this item when the answer was given
    Column("hash", Text),
    Column("score", Double),
    Column("source", Text, nullable=False),  # review, or where it was imported from
    Column("undone", Double),
    Index("labels_item", "survey", "alert_id", "task"),
    Index("labels_task", "task", "at"),
)

# What is to be looked at, in its order; made again whenever a model or the labels have changed.
queue = Table(
    "queue",
    metadata,
    Column("task", Text, primary_key=True),
    Column("survey", Text, primary_key=True),
    Column("alert_id", Text, primary_key=True),
    Column("place", Integer, nullable=False),  # 0 is next
    Column("value", Double),  # what an answer is expected to be worth
    Column("slot", Text, nullable=False),
    # drawn by chance and kept out of training for ever: bundles are compared on these
    Column("frozen", Boolean, nullable=False),
    Column("blind", Boolean, nullable=False),  # to be answered by a second person too
    # whether it waits for an answer; set by the transaction of each answer
    Column("open", Boolean, nullable=False),
    Column("made", Double, nullable=False),  # when the order was
    Index("queue_place", "task", "open", "place"),
    sqlite_with_rowid=False,
)

# Who has an item on the screen: nobody else gets it before `until`.
assignments = Table(
    "assignments",
    metadata,
    Column("task", Text, primary_key=True),
    Column("survey", Text, primary_key=True),
    Column("alert_id", Text, primary_key=True),
    Column("turn", Integer, primary_key=True, autoincrement=False),  # 0, and 1 for the second of a blind pair
    Column("user", Text, nullable=False),
    Column("taken", Double, nullable=False),
    Column("until", Double, nullable=False),
    Index("assignments_user", "user"),
    sqlite_with_rowid=False,
)

profiles = Table(
    "profiles",
    metadata,
    Column("user", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("definition", JSON, nullable=False),  # filter, order, columns, what to hide
    Column("changed", Double, nullable=False),
    sqlite_with_rowid=False,
)

trainings = Table(
    "trainings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("user", Text, nullable=False),
    Column("bundle", Text),  # null where the training failed
    Column("hash", Text),
    Column("against", Text),  # the bundle in use when it was made
    Column("against_hash", Text),
    Column("n_labels", Integer, nullable=False),  # answers that it learned from
    Column("n_frozen", Integer, nullable=False),  # answers that it was judged by
    Column("verdict", Text, nullable=False),  # see `trainings.Verdict`
    Column("reason", Text, nullable=False),
    Column("figures", JSON, nullable=False),  # before, after and difference with their intervals
)
