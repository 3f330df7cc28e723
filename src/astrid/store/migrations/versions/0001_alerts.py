"""Alerts, scores, filters, and what passes them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_OBJECTS = """
CREATE VIEW objects AS
SELECT survey, object_id, ra, dec, n, first_mjd, last_mjd, brightest
FROM (
    SELECT survey, object_id, ra, dec,
        count(*) OVER object AS n,
        min(mjd) OVER object AS first_mjd,
        max(mjd) OVER object AS last_mjd,
        min(magpsf) OVER object AS brightest,
        row_number() OVER (PARTITION BY survey, object_id ORDER BY mjd, alert_id) AS place
    FROM alerts
    WHERE object_id IS NOT NULL
    WINDOW object AS (PARTITION BY survey, object_id)
) AS each_alert
WHERE place = 1
"""  # the position is that of the first alert: a mean would fail where right ascension begins again


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "batches",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("token", sa.Text, nullable=False, unique=True),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("started", sa.Double),
        sa.Column("committed", sa.Double, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("n_new", sa.Integer, nullable=False),
        sa.Column("n_quarantined", sa.Integer, nullable=False),
        sa.Column("behind", sa.BigInteger),
        sa.Column("latency_p50", sa.Double),
        sa.Column("latency_p99", sa.Double),
        sa.Column("filters", sa.JSON, nullable=False),
        sa.Column("pack", sa.Text),
        sa.Column("pack_night", sa.Text),
        sa.Column("pack_bytes", sa.BigInteger),
        sa.Column("pack_removed", sa.Double),
    )
    op.create_table(
        "alerts",
        sa.Column("survey", sa.Text, primary_key=True),
        sa.Column("alert_id", sa.Text, primary_key=True),
        sa.Column("object_id", sa.Text),
        sa.Column("ra", sa.Double),
        sa.Column("dec", sa.Double),
        sa.Column("healpix", sa.BigInteger),
        sa.Column("mjd", sa.Double),
        sa.Column("night", sa.Text),
        sa.Column("band", sa.Text),
        sa.Column("magpsf", sa.Double),
        sa.Column("batch", sa.Integer, nullable=False),
        sa.Column("packet", sa.LargeBinary, nullable=False),
        sa.Column("suffix", sa.Text, nullable=False),
        sa.Column("pack_offset", sa.BigInteger, nullable=False),
        sa.Column("pack_length", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("alerts_object", "alerts", ["object_id"])
    op.create_index("alerts_healpix", "alerts", ["healpix"])
    op.create_table(
        "bundles",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.UniqueConstraint("name", "hash"),
    )
    op.create_table(
        "scores",
        sa.Column("survey", sa.Text, primary_key=True),
        sa.Column("alert_id", sa.Text, primary_key=True),
        sa.Column("bundle", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("label", sa.Text, primary_key=True),
        sa.Column("value", sa.Double),
        sa.Column("spread", sa.Double),
        sa.Column("decision", sa.Text),
        sa.Column("set", sa.Text),
        sa.Column("applicable", sa.Text),
        sa.Column("unscored", sa.Text),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "filters",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("hash", sa.Text, primary_key=True),
        sa.Column("definition", sa.JSON, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
    )
    op.create_table(
        "passes",
        sa.Column("filter", sa.Text, primary_key=True),
        sa.Column("hash", sa.Text, primary_key=True),
        sa.Column("survey", sa.Text, primary_key=True),
        sa.Column("alert_id", sa.Text, primary_key=True),
        sa.Column("batch", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("delivered_at", sa.Double),
        sa.Column("claimed_until", sa.Double),
        sqlite_with_rowid=False,
    )
    pending = sa.text("state = 'pending'")
    op.create_index("passes_pending", "passes", ["batch"], sqlite_where=pending, postgresql_where=pending)
    op.create_table(
        "snapshots",
        sa.Column("batch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("night", sa.Text, primary_key=True),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("part", sa.Text),
        sqlite_with_rowid=False,
    )
    op.create_index("snapshots_night", "snapshots", ["night"])
    op.create_table(
        "buffers",
        sa.Column("batch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rows", sa.LargeBinary, nullable=False),
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute('ALTER TABLE buffers ALTER COLUMN "rows" SET STORAGE EXTERNAL')  # compressed already
    op.execute(_OBJECTS)
