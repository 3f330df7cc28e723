"""Closing nights from the command line: rows move and stay the same, old packets go, nothing else does."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from astrid.cli.main import app
from astrid.errors import StoreError
from astrid.store import open_store


def astrid(*arguments: object):
    result = CliRunner().invoke(app, ["alerts", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.real_data
def test_nights_that_are_over_become_tables_and_their_packets_go(real_data, tmp_path):
    files, folder = real_data / "alerts" / "ztf_alerts_dev.tar.gz", tmp_path / "store"
    assert astrid("ingest", files, "--no-scores", "--store", folder, "--json").exit_code == 0
    with open_store(folder) as store:
        before = [row for table in store.history() for row in table.to_pylist()]
        nights = list(store.counts().open_nights)
    last = next(row["alert_id"] for row in before if row["night"] == nights[-1])

    def close(*options: object) -> dict:
        return json.loads(astrid("close", "--store", folder, "--json", *options).stdout)

    assert list(close("--before", nights[-1])["closed"]) == nights[:-1]
    result = close("--keep-packets", 1)
    assert list(result["closed"]) == nights[-1:]
    assert result["packets_removed_bytes"] > 1e6
    with open_store(folder) as store:
        assert [row for table in store.history() for row in table.to_pylist()] == before
        with pytest.raises(StoreError, match="removed"):
            store.packet("ztf", last)
    assert len(list((folder / "tables").glob("night=*/*.parquet"))) == len(nights)


def test_a_night_that_is_none_is_refused(tmp_path):
    result = astrid("close", "--store", tmp_path, "--before", "yesterday")
    assert result.exit_code == 2
    assert "'yesterday' is no night; write it as YYYY-MM-DD" in result.stderr
