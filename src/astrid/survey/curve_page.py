"""One source on one page: its light curve, period, dm-dt image, features and classes, with units.

Lays out what `curve_examination` has found; the charts are drawn in `curve_charts`, the tree of classes in
`class_tree`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from astrid._version import __version__
from astrid.lightcurves.classes import taxonomy
from astrid.lightcurves.periodicity import Search
from astrid.pages.page import write_page
from astrid.survey.class_tree import ClassNode, tree_html
from astrid.survey.curve_charts import (
    coloured_bands,
    dmdt_chart,
    folded_chart,
    light_curve_chart,
    periodogram_chart,
    radar_chart,
)
from astrid.survey.curve_examination import Examined

__all__ = ["write_curve_page"]

_UNSURE = 10.0  # difference of information criteria

_STYLE = """
.facts { display: flex; flex-wrap: wrap; }
.facts > div { flex: 1 1 140px; }
.plot { width: 100%; height: auto; display: block; }
.two { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); gap: 1.6rem 2rem; align-items: start; margin-top: .9rem; }
.three { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); gap: 1.6rem 1.8rem; align-items: start; margin-top: 1.6rem; }
figure h3 { font: 600 1rem var(--sans); margin: 0 0 .3rem; }
.classes, .classes ul { list-style: none; margin: 0; padding: 0; }
.classes ul { margin-left: .55rem; padding-left: .9rem; border-left: 1px solid var(--line); }
.classes { max-width: 46rem; margin-top: .8rem; }
.class { display: grid; grid-template-columns: minmax(6rem, 1fr) minmax(4rem, 12rem) 4rem; gap: .2rem .8rem; align-items: center; padding: .17rem 0; font-size: .93rem; }
.class small { color: var(--soft); }
.class .bar { height: .55rem; background: color-mix(in srgb, var(--soft) 16%, transparent); border-radius: 99px; overflow: hidden; }
.class .bar i { display: block; height: 100%; background: var(--curve); border-radius: 99px; min-width: 1px; }
.class .share { text-align: right; font-variant-numeric: tabular-nums; color: var(--soft); }
.rest { color: var(--soft); font-size: .84rem; padding: .2rem 0; overflow-wrap: anywhere; }
.model { margin-top: 1.2rem; }
.model h3 { font: 600 1rem var(--sans); margin: 0; }
td.long { white-space: normal; text-align: left; color: var(--soft); min-width: 15rem; }
"""  # noqa: E501


def write_curve_page(found: Examined, path: str | Path, *, command: str = "") -> None:
    """Write the page, which needs no network.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    body = "\n".join(
        part
        for part in (
            _header(found), _warnings(found), _tiles(found), _curves(found), _classes(found), _shape(found),
            _numbers(found), _made_by(found, command),
        )
        if part
    )  # fmt: skip
    write_page(path, title=f"{found.curve.name}: light curve", body=body, style=_STYLE)


def _header(found: Examined) -> str:
    curve = found.curve
    place = "" if curve.ra is None or curve.dec is None else f" at {curve.ra:.5f}°, {curve.dec:+.5f}°"
    bands = [band for band, _ in coloured_bands(found.used) if band]
    scale = "of an unknown scale" if curve.time_scale == "unknown" else curve.time_scale.upper()
    seen = f"{len(found.used):,} points" + (f" in {', '.join(bands)}" if bands else "")
    years = (found.used.time[-1] - found.used.time[0]) / 365.25
    span = f"{years:.1f} years" if years >= 1 else f"{365.25 * years:.1f} days"
    return (
        f'<header><p class="kicker">AstrID · light curve</p><h1>{escape(curve.name)}</h1>'
        f'<p class="lede"><strong>{escape(seen)}</strong> over {span}, MJD {found.used.time[0]:.2f} to '
        f"{found.used.time[-1]:.2f} ({scale}, at the {curve.timed_at}){place}.</p>"
        "</header>"
    )


def _warnings(found: Examined) -> str:
    said = [*found.used.warnings]
    if found.row["problem"]:
        said.append(f"Not all could be measured: {found.row['problem']}.")
    if found.found is not None and found.found.terrestrial:
        said.append(
            "The period, or its half, lies where the day and the Moon make periods that are not the star's."
        )
    if found.found is not None and found.found.log_false_alarm > -3:
        said.append(
            "Noise alone makes such a peak more than once in a thousand: it may have no period at all."
        )
    if found.found is not None and _rival(found.found) is not None:
        said.append(
            f"A period of {_rival(found.found):.6g} d explains it nearly as well as "
            f"{1 / found.found.frequency[0]:.6g} d."
        )
    said += [f"{name} was not made for such a source: {why}" for name, why in found.notes.items()]
    if not said:
        return ""
    items = "".join(f"<li>{escape(one)}</li>" for one in said)
    return f'<section class="warnings" role="note"><h2>To know</h2><ul>{items}</ul></section>'


def _rival(search: Search) -> float | None:
    """The best other period, if it is nearly as good and no multiple."""
    for frequency, score in zip(search.frequency[1:], search.score[1:], strict=True):
        ratio = frequency / search.frequency[0]
        if score < _UNSURE and min(abs(ratio * k - round(ratio * k)) for k in (1, 2, 3)) > 1e-3:
            return 1 / frequency
    return None


def _tiles(found: Examined) -> str:
    row, tiles = found.row, []
    sources = set(
        taxonomy().below("ontological")
    )  # what a source is says more than what its curve looks like
    if found.period is not None:
        search = found.found
        given = search is None or found.period != search.period
        rule = "as given" if given else _RULES.get(row["period_rule"], "as found")
        if not given and row["period"] < 0.9 * row["period_base"]:
            rule = f"it repeats in a part of {row['period_base']:.5g} d"
        tiles.append(("Period", f"{found.period:.7g} <small>d</small>", rule))
    if found.found is not None:
        many = f"by {found.found.n_terms} harmonic{'s' if found.found.n_terms > 1 else ''}"
        remark = f"{many} of half the period" if found.found.rule else many
        tiles.append(("Explained", f"{100 * found.found.power:.1f} <small>%</small>", remark))
        chance = found.found.log_false_alarm
        tiles.append(
            (
                "False alarm",
                f"10<sup>{chance:.0f}</sup>".replace("-", "−"),
                "probability of such a peak by noise",
            )
        )
    if row.get("median") is not None:
        band = f" in {row['band']}" if row["band"] else ""
        tiles.append(("Median", f"{row['median']:.2f} <small>mag</small>", f"of the points{band}"))
        tiles.append(("Range", f"{row['i90r']:.2f} <small>mag</small>", "5 % to 95 % of the points"))
    for name, tree in found.classes.items():
        best = max(
            _leaves(tree),
            key=lambda one: (one.decided, one.decided and one.label in sources, one.probability),
        )
        tiles.append((escape(name), escape(best.name), f"{100 * best.probability:.0f} %"))
    shown = "".join(
        f'<div><dt>{name}</dt><dd><div class="value">{value}</div>'
        f'<div class="remark">{remark}</div></dd></div>'
        for name, value, remark in tiles
    )
    return f'<dl class="facts">{shown}</dl>' if shown else ""


_RULES = {
    "narrow": "doubled: its minima are narrow",
    "sine": "doubled: a fast sine is half an orbit",
    "mild": "doubled: its minima are narrower",
    "unequal": "doubled: its minima differ",
    "": "as found",
}


def _leaves(tree: Sequence[ClassNode]) -> list[ClassNode]:
    return [leaf for one in tree for leaf in (_leaves(one.within) if one.within else [one])]


def _curves(found: Examined) -> str:
    name, curve = found.curve.name, found.used
    plots = [_figure("Light curve", light_curve_chart(curve, f"Light curve of {name}"))]
    small = []
    if found.period is not None:
        period = found.period
        plots.append(
            _figure("Folded with the period", folded_chart(curve, period, f"{name} folded with its period"))
        )
        small.append(
            _figure("With half of it", folded_chart(curve, period / 2, f"{name} folded with half its period"))
        )
        small.append(
            _figure(
                "With its double", folded_chart(curve, 2 * period, f"{name} folded with twice its period")
            )
        )
    if found.periodogram is not None:
        marks = (
            {}
            if found.period is None
            else {"P/2": found.period / 2, "P": found.period, "2P": 2 * found.period}
        )
        chart = periodogram_chart(*found.periodogram, marks, f"Periodogram of {name}")
        small.append(
            _figure("Periodogram", chart, "Lomb-Scargle. Grey: where the day and the Moon make periods.")
        )
    rows = f'<div class="two">{"".join(plots)}</div>'
    rest = f'<div class="three">{"".join(small)}</div>' if small else ""
    note = "Phase 0 is where it is faintest."
    if found.curve.unit != "mag":
        note += f" Magnitudes of fluxes in {found.curve.unit}" + (
            "." if found.curve.unit == "nJy" else ", whose zero point is not known: only differences count."
        )
    return f'<section><h2>In time and phase</h2><p class="note">{escape(note)}</p>{rows}{rest}</section>'


def _figure(title: str, chart: str, caption: str = "") -> str:
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure><h3>{escape(title)}</h3>{chart}{below}</figure>"


def _classes(found: Examined) -> str:
    if not found.classes:
        return ""
    parts = []
    for name, tree in found.classes.items():
        decision = (
            f' <small class="aside">decides for {escape(found.decisions[name])}</small>'
            if name in found.decisions
            else ""
        )
        parts.append(f'<div class="model"><h3>{escape(name)}{decision}</h3>{tree_html(tree)}</div>')
    note = "Probabilities, each at the place of its class. Bold: what the model decides for."
    return f'<section><h2>What it may be</h2><p class="note">{note}</p>{"".join(parts)}</section>'


def _shape(found: Examined) -> str:
    name, figures = found.curve.name, []
    if found.image is not None:
        rows, columns = found.image.shape
        band = f" in {found.row['band']}" if found.row["band"] else ""
        caption = (
            f"Pairs of points{band} by the time between them and the change of magnitude, {rows} × {columns} "
            f"cells ({escape(found.grid.name)}); upwards it faded. The shade is the root of their number."
        )
        figures.append(
            _figure("dm-dt image", dmdt_chart(found.image, found.grid, f"dm-dt image of {name}"), caption)
        )
    if len(found.percentiles) >= 3:
        caption = f"Per cent of {escape(found.reference)} that are below it."
        figures.append(_figure("Features", radar_chart(found.percentiles, f"Features of {name}"), caption))
    return (
        f'<section><h2>How it varies</h2><div class="two">{"".join(figures)}</div></section>'
        if figures
        else ""
    )


def _numbers(found: Examined) -> str:
    rows = "".join(
        f'<tr><td class="text"><code>{escape(name)}</code></td><td>{_number(value)}</td>'
        f'<td class="text">{escape(found.facts[name][0])}</td>'
        f'<td class="long">{escape(found.facts[name][1])}</td></tr>'
        for name, value in found.row.items()
        if name not in ("warnings", "problem")
    )
    table = (
        '<div class="wide"><table><thead><tr><th class="text">name</th><th>value</th><th class="text">unit'
        f'</th><th class="text">meaning</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )
    candidates = ""
    if found.found is not None:
        pairs = list(zip(found.found.frequency, found.found.score, strict=True))[:5]
        lines = "".join(
            f"<tr><td>{1 / frequency:.7g}</td><td>{frequency:.6g}</td><td>{score:.1f}</td></tr>"
            for frequency, score in pairs
        )
        candidates = (
            '<h2>Periods that compete</h2><p class="note">Before half and whole orbit are told apart. The '
            "score is an information criterion above the best one's: below 10 the choice is not certain, "
            "unless one is a multiple of the other.</p>"
            '<div class="wide" style="max-width: 30rem"><table><thead><tr>'
            "<th>period, d</th><th>frequency, 1/d</th><th>score</th></tr></thead>"
            f"<tbody>{lines}</tbody></table></div>"
        )
    return (
        f"<section>{candidates}<h2>All numbers</h2><details><summary>{len(found.row) - 2} numbers with units "
        f"and meanings</summary>{table}</details></section>"
    )


def _number(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", "−")
    return escape(str(value)) or "–"


def _made_by(found: Examined, command: str) -> str:
    rows = [("Command", f"<code>{escape(command)}</code>")] if command else []
    rows += [("Version", f"AstrID {escape(__version__)}")]
    items = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    return f'<section><h2>How this was made</h2><dl class="made">{items}</dl></section>'
