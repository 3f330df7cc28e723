"""``astrid catalogs``: import sky catalogues, list them, match positions with them.

Parse, call, print; what the verbs do is in `astrid.catalogs`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid.cli.output import emit, progress
from astrid.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from astrid.catalogs import Catalog, Matches

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Catalogues of the sky: import, list, match.",
)

_MOST = 20  # matches that are printed
_FEW = 6  # columns of them

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Name = Annotated[str, typer.Argument(help="Name of a catalogue, or the path of its directory.")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Table: Parquet, CSV, ECSV, FITS or VOTable.", dir_okay=False)],
    name: Annotated[str, typer.Option(help="What the catalogue is called: letters, digits, underscores.")],
    ra: Annotated[
        str | None, typer.Option(help="Column of right ascensions.", show_default="by its name")
    ] = None,
    dec: Annotated[
        str | None, typer.Option(help="Column of declinations.", show_default="by its name")
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", help="Column that names a row.", show_default="by its name")
    ] = None,
    pmra: Annotated[
        str | None, typer.Option(help="Column of proper motions in right ascension, times cos(dec).")
    ] = None,
    pmdec: Annotated[str | None, typer.Option(help="Column of proper motions in declination.")] = None,
    epoch: Annotated[
        str | None, typer.Option(help="Julian year of the positions, or the column that says it.")
    ] = None,
    no_motion: Annotated[
        bool, typer.Option("--no-motion", help="Leave proper motions out of account.")
    ] = False,
    columns: Annotated[
        str | None,
        typer.Option(help="Columns to keep beside these, separated by commas.", show_default="all"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a catalogue of this name.")] = False,
    json: Json = False,
) -> None:
    """Import a table of positions, so that alerts can be matched with it.

    Example: `astrid catalogs import gaia.parquet --name gaia`
    """
    from astrid.catalogs import import_catalog

    with progress(json, "rows") as on_progress:
        catalog = import_catalog(
            file,
            name,
            ra=ra,
            dec=dec,
            id=id,
            pmra=pmra,
            pmdec=pmdec,
            epoch=_year(epoch),
            motion=not no_motion,
            columns=None if columns is None else [one.strip() for one in columns.split(",")],
            overwrite=overwrite,
            on_progress=on_progress,
        )
    facts = _facts(catalog)
    emit(json, facts, lambda: _view(facts))


@app.command("list")
def list_(json: Json = False) -> None:
    """List the catalogues that are there.

    Example: `astrid catalogs list`
    """
    from astrid.catalogs import catalogs_directory, list_catalogs

    catalogs = [_facts(catalog) for catalog in list_catalogs()]
    result = {"folder": str(catalogs_directory()), "catalogs": catalogs}

    def view() -> RenderableType:
        from astrid.cli.tables import columns, stack

        table = columns(("name", "rows", "set aside", "motion", "imported"), numbers=(1, 2))
        for one in catalogs:
            table.add_row(
                one["name"],
                f"{one['n_rows']:,}",
                f"{one['n_set_aside']:,}" if one["n_set_aside"] is not None else "–",
                "yes" if one["motion"] else "no",
                (one["created"] or "–")[:10],
            )
        return stack(table) if catalogs else stack(f"no catalogues in {result['folder']}")

    emit(json, result, view)


@app.command()
def info(name: Name, json: Json = False) -> None:
    """Say what a catalogue holds: its columns, where it came from, what was set aside.

    Example: `astrid catalogs info gaia`
    """
    from astrid.catalogs import open_catalog

    facts = _facts(open_catalog(name))
    emit(json, facts, lambda: _view(facts))


@app.command(context_settings={"ignore_unknown_options": True})  # a southern declination is no option
def match(
    name: Name,
    target: Annotated[
        list[str], typer.Argument(help="A table; or a position as RA DEC.", metavar="FILE|RA DEC")
    ],
    radius: Annotated[float, typer.Option(help="Arcseconds.", min=0)],
    every: Annotated[
        bool, typer.Option("--all", help="All within the radius, not only the nearest.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Parquet file with the columns of both.", dir_okay=False)
    ] = None,
    ra: Annotated[
        str | None, typer.Option(help="The table's column of right ascensions.", show_default="by its name")
    ] = None,
    dec: Annotated[
        str | None, typer.Option(help="The table's column of declinations.", show_default="by its name")
    ] = None,
    mjd: Annotated[
        str | None, typer.Option(help="The table's column of dates, or one date (MJD), for proper motions.")
    ] = None,
    json: Json = False,
) -> None:
    """Find the rows of a catalogue near to a position, or to those of a table.

    Examples: `astrid catalogs match sne 62.03 -8.83 --radius 5`,
    `astrid catalogs match gaia night.parquet --radius 2 --out matched.parquet`
    """
    from astrid.catalogs import open_catalog

    strange = [word for word in target if word.startswith("--") or (word[:1] == "-" and word[1:2].isalpha())]
    if strange or len(target) > 2:
        raise UsageError(f"{' '.join(strange or target)!r} is not understood; give a table, or RA and DEC")
    catalog = open_catalog(name)
    if len(target) == 2:
        _match_one(catalog, target[0], target[1], radius, every, mjd, out, json)
        return
    from astrid.catalogs.joining import join_table

    with progress(json, "positions") as on_progress:
        joined = join_table(
            catalog, target[0], out, radius=radius, every=every, ra=ra, dec=dec, mjd=mjd,
            on_progress=on_progress,
        )  # fmt: skip
    result = {
        "catalog": catalog.name,
        "radius": radius,
        **joined.as_dict(),
        "out": None if out is None else str(out),
    }

    def view() -> RenderableType:
        from astrid.cli.tables import figures

        rows = [("positions", f"{joined.n:,}"), ("matched", f"{joined.n_matched:,}")]
        rows += [("pairs", f"{joined.n_pairs:,}")] if every else []
        rows += [("not known", f"{joined.n_unknown:,}")] if joined.n_unknown else []
        rows += [("written", str(out))] if out is not None else []
        return figures(rows)

    emit(json, result, view)


def _match_one(
    catalog: Catalog,
    ra: str,
    dec: str,
    radius: float,
    every: bool,
    mjd: str | None,
    out: Path | None,
    json: bool,
) -> None:
    import pyarrow as pa

    from astrid.catalogs.positions import REASONS, positions

    if out is not None:
        raise UsageError("--out is for the matches of a table; leave it out, or give a file of positions")
    lon, lat, reason = positions(pa.array([ra]), pa.array([dec]))
    if reason[0]:
        raise UsageError(f"the position is {ra!r} {dec!r}, but {REASONS[reason[0]]}; give degrees or h m s")
    date = None
    if mjd is not None:
        try:
            date = float(mjd)
        except ValueError as error:
            raise UsageError(
                f"the date is {mjd!r}, expected a modified Julian date such as 61000.5"
            ) from error
    found = (catalog.within if every else catalog.nearest)(lon, lat, radius, date)
    result = {
        "catalog": catalog.name,
        "ra": lon[0],
        "dec": lat[0],
        "radius": radius,
        "n": int(found.count[0]) if len(found) else 0,
        "matches": [
            {"distance": distance, **row}
            for distance, row in zip(found.distance.tolist(), found.rows.to_pylist(), strict=True)
        ],
    }
    emit(json, result, lambda: _view_matches(catalog, found, radius))


def _view_matches(catalog: Catalog, found: Matches, radius: float) -> RenderableType:
    from astrid.cli.tables import columns, stack

    if not len(found):
        return stack(f"nothing of {catalog.name} within {radius:g} arcsec")
    rows = found.rows.slice(0, _MOST).to_pylist()
    filled = [name for name in catalog.schema.names if any(row[name] is not None for row in rows)]
    first = [one for one in (catalog.id_column, catalog.ra_column, catalog.dec_column) if one is not None]
    shown = list(dict.fromkeys([*first, *filled]))[:_FEW]
    table = columns(("arcsec", *shown), numbers=(0,))
    for distance, row in zip(found.distance.tolist(), rows, strict=False):
        table.add_row(f"{distance:.3f}", *(_short(row[name]) for name in shown))
    more = len(found) - len(rows)
    rest = len(filled) - len(set(filled) & set(shown))
    notes = [f"{more:,} more rows"] * (more > 0) + [f"{rest:,} more columns"] * (rest > 0)
    return stack(table, f"{' and '.join(notes)} with --json" if notes else "")


def _short(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _year(epoch: str | None) -> str | float | None:
    """An epoch as a number where it is one, else as the name of a column."""
    if epoch is None:
        return None
    try:
        return float(epoch)
    except ValueError:
        return epoch


def _facts(catalog: Catalog) -> dict[str, Any]:
    record, motion = catalog.record, catalog.motion
    columns = [
        {
            "name": field.name,
            "type": str(field.type),
            "unit": (field.metadata or {}).get(b"unit", b"").decode(),
            "meaning": (field.metadata or {}).get(b"description", b"").decode(),
        }
        for field in catalog.schema
    ]
    return {
        "name": catalog.name,
        "path": str(catalog.path),
        "n_rows": catalog.n_rows,
        "n_partitions": catalog.n_partitions,
        "n_set_aside": record.get("n_set_aside"),
        "reasons": record.get("reasons", {}),
        "ra": catalog.ra_column,
        "dec": catalog.dec_column,
        "id": catalog.id_column,
        "motion": None
        if motion is None
        else {"pmra": motion.pmra, "pmdec": motion.pmdec, "epoch": motion.epoch, "fastest": motion.fastest},
        "source": record.get("source"),
        "sha256": record.get("sha256"),
        "created": record.get("created"),
        "columns": columns,
    }


def _view(facts: dict[str, Any]) -> RenderableType:
    from astrid.cli.tables import columns, figures, stack

    motion = facts["motion"]
    rows = [("name", facts["name"]), ("rows", f"{facts['n_rows']:,} in {facts['n_partitions']:,} partitions")]
    rows += [("set aside", f"{n:,}: {reason}") for reason, n in facts["reasons"].items()]
    rows += [("positions", f"{facts['ra']}, {facts['dec']}"), ("id", facts["id"] or "–")]
    if motion is not None:
        names = f"{motion['pmra']}, {motion['pmdec']} from {motion['epoch']}"
        rows.append(("motion", f"{names}, at most {motion['fastest']:.1f} mas/yr"))
    if facts["source"]:
        rows += [("source", facts["source"]), ("imported", facts["created"])]
    rows.append(("path", facts["path"]))
    table = columns(("column", "type", "unit", "meaning"))
    for one in facts["columns"]:
        table.add_row(one["name"], one["type"], one["unit"] or "–", one["meaning"] or "–")
    return stack(figures(rows), table)
