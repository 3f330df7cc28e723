from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from astrid.errors import DependencyError, OutputError, StoreError, UsageError
from astrid.store import Batch, open_store
from astrid.store.migration import MIGRATIONS, VERSION_TABLE, upgrade
from astrid.store.store import Store
from astrid.store.tables import metadata

Make = Callable[..., Batch]

NEXT = '''"""One more column."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9999", "{last}"
def upgrade() -> None:
    op.add_column("alerts", sa.Column("more", sa.Text))
'''


@pytest.fixture
def next_version(tmp_path: Path) -> Path:
    """The changes of an AstrID that is to come."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder)
    last = sorted(folder.glob("versions/[0-9]*.py"))[-1].name.split("_")[0]
    (folder / "versions" / "9999_more.py").write_text(NEXT.format(last=last))
    return folder


def test_the_changes_lead_to_the_tables_that_the_code_uses(store: Store):
    def differences(connection: sa.Connection) -> list:
        def ours(thing, name, kind, *_):
            return name not in (VERSION_TABLE, "alerts_q3c")

        options = {"version_table": VERSION_TABLE, "include_object": ours, "compare_type": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    assert store._database.read(differences) == []


def test_a_store_is_opened_again_with_what_is_in_it(new_address, make: Make):
    address = new_address()
    with open_store(*address) as store:
        store.write(make(range(3)))
    with open_store(*address) as store:
        assert store.counts().alerts == 3


def test_an_older_database_is_brought_up_to_date_and_a_newer_one_refused(
    new_address, make: Make, next_version
):
    address = new_address()
    with open_store(*address) as store:
        store.write(make(range(3)))
        upgrade(store._database, next_version)
        found = store._database.read(lambda connection: sa.inspect(connection).get_columns("alerts"))
        assert found[-1]["name"] == "more"
        assert store.counts().alerts == 3
    with pytest.raises(StoreError, match=r"made by a newer AstrID \(its version is 9999"):
        open_store(*address)


def test_a_change_that_fails_leaves_the_database_as_it_was(new_address, make: Make, next_version: Path):
    script = next_version / "versions" / "9999_more.py"
    script.write_text(script.read_text() + '    op.drop_table("nowhere")\n')
    with open_store(*new_address()) as store:
        store.write(make(range(3)))
        with pytest.raises(StoreError, match="nowhere"):
            upgrade(store._database, next_version)
        names = store._database.read(lambda connection: sa.inspect(connection).get_columns("alerts"))
        assert "more" not in [one["name"] for one in names]
        assert store.write(make(range(3, 5))).n_new == 2


def test_a_database_of_something_else_is_left_alone(new_address):
    import sqlite3

    folder, database = new_address()
    if database is None:
        folder.mkdir()
        with sqlite3.connect(folder / "astrid.db") as connection:
            connection.execute("CREATE TABLE alerts (x)")
        connection.close()
    else:
        import psycopg

        with psycopg.connect(database) as other:
            other.execute("CREATE TABLE alerts (x int)")
    with pytest.raises(StoreError, match="tables of something else"):
        open_store(folder, database)


def test_a_file_that_is_no_database_is_said(tmp_path: Path):
    (tmp_path / "astrid.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match="not a sound database"):
        open_store(tmp_path)


def test_wrong_addresses_are_said(tmp_path: Path):
    with pytest.raises(UsageError, match="mysql"):
        open_store(tmp_path, "mysql://somewhere/else")
    with pytest.raises(UsageError, match="is not an address"):
        open_store(tmp_path, "postgresql://host:notaport/name")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        open_store(tmp_path / "file")


def test_a_password_is_not_told(tmp_path: Path):
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        open_store(tmp_path, "postgresql://me:secret@127.0.0.1:9/name", patience=0)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("package", "database", "extra"),
    [
        ("sqlalchemy", None, "stream"),
        ("alembic", None, "stream"),
        ("psycopg", "postgresql://a/b", "postgres"),
    ],
)
def test_an_extra_that_is_not_installed_is_named(tmp_path: Path, monkeypatch, package, database, extra):
    from astrid.store import opening

    found = opening.find_spec
    monkeypatch.setattr(opening, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(DependencyError, match=rf'{package}; pip install "astrid\[{extra}\]"'):
        open_store(tmp_path, database)


def test_importing_the_room_loads_no_database():
    code = "import sys, astrid.store; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"sqlalchemy", "alembic", "psycopg", "pyarrow"} & set(done.stdout.split())
