"""Statements of many rows."""

import sqlalchemy as sa

from astrid.store.statements import insert


def test_batches_of_all_sizes_share_few_statements_and_lose_no_row():
    """A driver keeps prepared statements: one for each size of a batch made memory grow all night."""
    engine = sa.create_engine("sqlite://")
    table = sa.Table("things", sa.MetaData(), sa.Column("a", sa.Integer), sa.Column("b", sa.Text))
    table.metadata.create_all(engine)
    asked: set[str] = set()
    sa.event.listen(engine, "before_cursor_execute", lambda *given: asked.add(given[2]))
    expected = 0
    with engine.begin() as connection:
        for size in range(300):
            entries = [(expected + row, str(row)) for row in range(size)]
            found = insert(connection, table, ("a", "b"), entries, returning=("a",))
            assert [one for (one,) in found] == list(range(expected, expected + size))
            expected += size
        assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == expected
    assert len([statement for statement in asked if statement.startswith("INSERT")]) == 9
    engine.dispose()
