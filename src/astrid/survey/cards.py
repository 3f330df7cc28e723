"""The candidates in a report: a card with cutouts for each of the first, a table of all.

HTML only; the cutouts are drawn in `figures`, the page around this is in `report`.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid.survey.figures import cutout_sprite
from astrid.survey.scoring import is_scored

if TYPE_CHECKING:
    from astropy.table import Table

    from astrid.images.differencing import DifferenceResult

__all__ = ["candidate_section", "known", "number"]

_CARDS = 200  # candidates with cutouts; the table has all
_TALLEST = 16_000  # px; browsers limit the height of a picture
_CUTOUTS = ("science", "reference", "difference", "significance")
_SETS = {
    "real": "no doubt: real", "bogus": "no doubt: bogus", "bogus+real": "either: to a person",
    "real+bogus": "either: to a person", "novel": "neither: novel",
}  # fmt: skip
"""What a conformal set means."""
_COLUMNS = {
    "id": ("id", "", "{:d}"), "x": ("x", "px", "{:.2f}"), "y": ("y", "px", "{:.2f}"),
    "ra": ("RA", "deg", "{:.6f}"), "dec": ("Dec", "deg", "{:+.6f}"), "snr": ("S/N", "", "{:+.1f}"),
    "flux": ("flux", "ADU", "{:+,.0f}"), "flux_err": ("±", "ADU", "{:,.0f}"), "mag": ("mag", "", "{:.3f}"),
    "mag_err": ("±", "mag", "{:.3f}"), "fwhm": ("FWHM", "px", "{:.2f}"),
    "elongation": ("elong.", "", "{:.2f}"), "dipole": ("dipole", "", "{:.2f}"),
    "star_distance": ("to star", "px", "{:.1f}"),
    "real": ("real", "", "{:.3f}"), "real_spread": ("±", "", "{:.3f}"),
}  # fmt: skip
"""Columns of the page's table: heading, unit, format."""


def candidate_section(
    result: DifferenceResult, order: NDArray[np.integer], found: NDArray[np.bool_] | None
) -> str:
    """All about the candidates, as a ``<section>``.

    Parameters
    ----------
    result : DifferenceResult
    order : (n,) int ndarray
        Rows of the candidate table, in the order in which they shall stand.
    found : (n,) bool ndarray, optional
        Rows that are something that was put into a simulated pair.
    """
    table = result.candidates
    if len(table) == 0:
        return (
            "<section><h2>Candidates</h2>"
            '<p class="empty">No pixel reached the threshold: nothing changed.</p></section>'
        )
    size = result.triplets["science"].shape[-1]
    n = min(len(order), _CARDS, max(1, _TALLEST // size))
    shown = order[:n]
    sprite = cutout_sprite(result, shown)
    cards = "".join(
        _card(table[row], place, found is not None and bool(found[row])) for place, row in enumerate(shown)
    )
    rest = (
        f' <p class="note">Cutouts of the first {n:,} of {len(table):,}; the table below has all, and the '
        "files triplets.npz and candidates.parquet have everything.</p>"
        if n < len(table)
        else ""
    )
    return (
        f"<section><h2>Candidates</h2>{rest}{_tools(table)}"
        f'<style>.cut i {{ background-image: url("{sprite}"); --n: {n}; }}</style>'
        f'<ol class="cards" id="cards">{cards}</ol>{_table(table, order)}</section>'
    )


def _tools(table: Table) -> str:
    orders = [
        ("default", "probability" if is_scored(table) else "clean first, then S/N"),
        ("snr", "S/N"),
        ("mag", "magnitude"),
        ("x", "x"),
        ("y", "y"),
        ("id", "id"),
    ]
    options = "".join(
        f'<option value="{value}">{text}</option>'
        for value, text in orders
        if value != "mag" or any(known(value) for value in table["mag"])
    )
    return (
        '<form class="tools" id="tools" hidden onsubmit="return false">'
        '<label><input type="checkbox" id="only-clean"> hide flagged</label>'
        '<label>change <select id="sign"><option value="both">both ways</option>'
        '<option value="new">brighter</option><option value="gone">fainter</option></select></label>'
        '<label>|S/N| at least <input type="number" id="least" min="0" step="1" value="0"></label>'
        f'<label>order <select id="order">{options}</select></label><output id="count"></output></form>'
    )


def _card(one: Any, place: int, found: bool) -> str:
    snr = float(one["snr"])
    flags = [flag.strip() for flag in str(one["flags"]).split(",") if flag.strip()]
    chips = (
        "".join(f'<span class="flag">{escape(flag)}</span>' for flag in flags)
        or '<span class="flag none">clean</span>'
    )
    if found:
        chips += '<span class="flag found">injected</span>'
    cuts = "".join(
        f'<span class="cut" role="img" aria-label="{name} cutout of candidate {one["id"]}">'
        f'<i style="--k:{k};--i:{place}"></i></span>'
        for k, name in enumerate(_CUTOUTS)
    )
    names = "".join(f"<span>{name}</span>" for name in _CUTOUTS)
    light = (
        f"<b>{number(one['mag'], '{:.2f}')}</b> ± {number(one['mag_err'], '{:.2f}')} mag"
        if known(one["mag"])
        else f"<b>{number(one['flux'], '{:+,.0f}')}</b> ± {number(one['flux_err'], '{:,.0f}')} ADU"
    )
    sky = f"{number(one['ra'], '{:.6f}')} {number(one['dec'], '{:+.6f}')} · " if known(one["ra"]) else ""
    return (
        f'<li class="card" id="c{one["id"]}" {_data(one, place)}><div class="cuts">{cuts}</div>'
        f'<div class="cut-names" aria-hidden="true">{names}</div>'
        f'<header><h3>#{one["id"]} <span class="aside">{"brighter" if snr > 0 else "fainter"}</span></h3>'
        f'<span class="snr">{number(snr, "{:+.1f}")}σ</span></header>'
        f"<p>{light} · FWHM {number(one['fwhm'], '{:.1f}')} px</p>"
        f"<p>{sky}x {number(one['x'], '{:.2f}')}, y {number(one['y'], '{:.2f}')}</p>"
        f"{_score(one) if is_scored(one) else ''}"
        f'<div class="flags">{chips}</div></li>'
    )


def _score(one: Any) -> str:
    """What the model says about the candidate."""
    doubt = str(one["applicable"])
    remark = f'<p class="unlike">{escape(doubt)}</p>' if doubt else ""
    if not known(one["real"]):
        return f'<p class="score">not scored</p>{remark}'
    spread = f" ± {number(one['real_spread'], '{:.2f}')}" if known(one["real_spread"]) else ""
    said = [f"decided {escape(str(one['real_decision']))}"]
    if str(one["real_set"]):
        said.append(_SETS.get(str(one["real_set"]), escape(str(one["real_set"]))))
    share = float(one["real"])
    bar = f'<span class="meter" aria-hidden="true"><i style="width:{100 * share:.0f}%"></i></span>'
    return f'<p class="score">{bar}<b>{share:.2f}</b>{spread} real · {" · ".join(said)}</p>{remark}'


def _data(one: Any, place: int) -> str:
    """What the page's script sorts and hides by."""
    numbers = " ".join(f'data-{name}="{float(one[name]):.6g}"' for name in ("snr", "x", "y", "id"))
    mag = f'data-mag="{float(one["mag"]):.6g}"' if known(one["mag"]) else ""
    return f'data-place="{place}" data-clean="{int(not str(one["flags"]))}" {numbers} {mag}'


def _table(table: Table, order: NDArray[np.integer]) -> str:
    columns = [
        name for name in _COLUMNS if name in table.colnames and any(known(value) for value in table[name])
    ]
    words = ("real_decision", "real_set", "flags") if is_scored(table) else ("flags",)
    head = "".join(f"<th>{_COLUMNS[name][0]}<small>{_COLUMNS[name][1]}</small></th>" for name in columns)
    titles = "".join(f'<th class="text">{name.removeprefix("real_")}</th>' for name in words)
    rows = []
    for place, row in enumerate(order):
        one = table[row]
        cells = "".join(f"<td>{number(one[name], _COLUMNS[name][2])}</td>" for name in columns)
        text = "".join(f'<td class="text">{escape(str(one[name]))}</td>' for name in words)
        rows.append(f"<tr {_data(one, place)}>{cells}{text}</tr>")
    return (
        f'<details><summary>Table of all {len(table):,}</summary><div class="wide"><table><thead><tr>{head}'
        f'{titles}</tr></thead><tbody id="rows">{"".join(rows)}</tbody></table></div>'
        "</details>"
    )


def known(value: Any) -> bool:
    """Whether a cell of a table holds a number."""
    return value is not None and not np.ma.is_masked(value) and bool(np.isfinite(value))


def number(value: Any, form: str) -> str:
    """The number with a true minus sign; a dash if it is not known."""
    if not known(value):
        return "–"
    return form.format(int(value) if form == "{:d}" else float(value)).replace("-", "−")
