"""``astrid alerts close``: nights that are over go where bulk readers find them, and old packets go."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid.cli.alert_options import Json
from astrid.cli.output import emit, progress
from astrid.cli.store_options import DEFAULT_STORE, Database, StoreFolder, existing_store

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["close"]


def close(
    folder: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    before: Annotated[
        str | None,
        typer.Option(
            help="First night that stays open, YYYY-MM-DD; today's if not given.", metavar="NIGHT",
            show_default=False,
        ),
    ] = None,
    keep_packets: Annotated[
        int | None,
        typer.Option(
            help="Remove packets of nights that are more than so many days ago; all are kept if not given.",
            metavar="DAYS", min=0, show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:  # fmt: skip
    """Move the rows of nights that are over into Parquet files, and remove old packets.

    Rows, scores and passes are kept for ever; what interrupted work has left is swept away. Meant to be run
    each morning.

    Example: `astrid alerts close --keep-packets 30`
    """
    first = _night(before)
    with existing_store(folder, database) as store:
        nights = [night for night in store.counts().open_nights if night < first]
        rows: dict[str, int] = {}
        with progress(json, "nights") as on_progress:
            for done, night in enumerate(nights):
                rows[night] = store.close_night(night)
                on_progress(done + 1, len(nights))
        removed = None if keep_packets is None else store.retain(keep_packets)
        strays = store.tidy()
    result = {
        "store": str(folder),
        "closed": rows,
        "packets_removed_bytes": 0 if removed is None else removed.bytes,
        "strays_removed_bytes": strays.bytes,
    }
    emit(json, result, lambda: _view(result))


def _night(text: str | None) -> str:
    from astrid.errors import UsageError

    if text is None:
        return datetime.now(UTC).date().isoformat()
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UsageError(f"{text!r} is no night; write it as YYYY-MM-DD") from error


def _view(result: dict[str, Any]) -> RenderableType:
    from astrid.cli.tables import columns, figures, stack

    table = columns(("night", "rows moved"), numbers=(1,))
    for night, n in result["closed"].items():
        table.add_row(night, f"{n:,}")
    freed = [("packets removed", "packets_removed_bytes"), ("strays removed", "strays_removed_bytes")]
    facts = [(name, f"{result[key] / 1e6:,.1f} MB") for name, key in freed]
    return stack(table, figures([("nights closed", str(len(result["closed"]))), *facts]))
