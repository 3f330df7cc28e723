"""One night of the alert path as a page and a file of the same numbers.

The page needs no network and no script; what it says was found in `digest` and `drift`, its figures are
drawn in `nightly_figures`.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid._version import __version__
from astrid.alerts import Alert, Layout, decode, read_packets
from astrid.errors import PacketError, StoreError
from astrid.files.directory import product_directory
from astrid.files.record import plain
from astrid.pages.page import write_page
from astrid.store.records import STATES
from astrid.stream import nightly_figures as figures
from astrid.stream.comparison import Comparison
from astrid.stream.digest import Candidate, Digest, digest_night
from astrid.stream.drift import Drift, drift_of, read_night
from astrid.stream.sample import Sample, models

if TYPE_CHECKING:
    from astrid.store.store import Store

__all__ = ["write_night"]

_VERDICTS = {
    "ok": "the scores are those of other nights",
    "watch": "something has changed",
    "act": "the scores should not be trusted",
}
_SHOWN = 40  # comparisons in the table; the file of numbers has all
_STYLE = """
.facts { grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.plot { width: 100%; height: auto; display: block; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: 1.6rem 1.8rem; align-items: start; margin-top: .9rem; }
.plots h3 { font: 600 1rem var(--sans); margin: 0 0 .2rem; overflow-wrap: anywhere; }
.rates { grid-template-columns: repeat(auto-fit, minmax(min(100%, 500px), 1fr)); }
.index { max-width: 760px; margin-top: .9rem; }
.card { content-visibility: visible; display: flex; flex-direction: column; gap: .25rem; }
.card > img { width: 100%; image-rendering: pixelated; display: block; border-radius: 5px; background: var(--panel); }
.card .none { aspect-ratio: 3; display: grid; place-items: center; text-align: center; padding: .4rem; border: 1px dashed var(--line); border-radius: 5px; font-size: .8rem; color: var(--soft); }
.channels { display: grid; grid-template-columns: repeat(3, 1fr); color: var(--soft); font-size: .7rem; text-align: center; }
.card header { margin-top: 0; flex-wrap: wrap; }
.card h3 { overflow-wrap: anywhere; }
.verdict { display: inline-block; padding: .1rem .75rem; border-radius: 99px; border: 1px solid currentColor; font-weight: 600; font-size: .9rem; text-transform: uppercase; letter-spacing: .06em; }
.verdict.ok { color: var(--clean); } .verdict.watch { color: var(--doubt); } .verdict.act { color: var(--expected); }
.reasons { margin: .8rem 0 0; padding-left: 1.1rem; max-width: 60rem; } .reasons li { margin: .25rem 0; overflow-wrap: anywhere; }
td.wrap { white-space: normal; min-width: 16rem; overflow-wrap: anywhere; }
tr.act td { background: color-mix(in srgb, var(--expected) 12%, transparent); }
tr.watch td { background: color-mix(in srgb, var(--doubt) 10%, transparent); }
"""  # noqa: E501


def write_night(
    store: Store,
    night: str,
    out: str | Path,
    *,
    top: int = 24,
    labels: Mapping[tuple[str, str], str] | None = None,
    layouts: tuple[Layout, ...] = (),
    adwin: bool = False,
    command: str = "",
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``night.html`` and ``night.json``, both or neither.

    Parameters
    ----------
    store : Store
    night : str
        ``YYYY-MM-DD``.
    out : str or Path
        A directory that does not exist, is empty or holds a night, which is replaced.
    top : int
        Candidates with their cutouts and light curves.
    labels : mapping of (str, str) to str, optional
        True labels by survey and number of the alert, for the coverage of the conformal sets.
    layouts : tuple of Layout
        Of surveys that AstrID does not know.
    adwin : bool
        Also look for changes of the scores within the night.
    command : str
        What made it, for the record.
    on_progress : callable, optional
        Told how many alerts are read, and of how many.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    StoreError
        The store has no such night.
    OutputError
        The directory cannot be written.
    """
    digest = digest_night(store, night, top=top, on_progress=on_progress)
    samples = read_night(store, night, labels=labels, on_progress=on_progress)
    drift = drift_of(night, samples, adwin=adwin)
    facts: dict[str, Any] = {
        "command": command,
        "software": f"AstrID {__version__}",
        **digest.as_dict(),
        "drift": drift.as_dict(),
    }
    names = ("night.html", "night.json")
    with product_directory(out, names=names, last="night.json") as staging:
        body = "\n".join(
            (
                _header(digest, drift),
                _facts(digest),
                _rates(digest),
                _scores(digest, samples[1]),
                _candidates(store, digest, layouts),
                _filters(digest),
                _quarantine(digest),
                _drift(drift),
                _made_by(digest, drift, command),
            )
        )
        write_page(staging / "night.html", title=f"Alerts of {night}", body=body, style=_STYLE)
        text = json.dumps(plain(facts), indent=1, allow_nan=False, ensure_ascii=False)
        (staging / "night.json").write_text(text + "\n", "utf-8")
    return Path(out) / "night.html"


def _header(digest: Digest, drift: Drift) -> str:
    surveys = ", ".join(f"{n:,} of {escape(survey)}" for survey, n in digest.surveys.most_common())
    reasons = "".join(f"<li>{escape(one)}</li>" for one in drift.reasons)
    against = (
        f"against {drift.n_reference:,} alerts of {_nights(drift.nights)}" if drift.nights else "no reference"
    )
    # nothing that was compared is no evidence that nothing has changed
    unknown = drift.verdict == "ok" and not drift.comparisons and not drift.coverage
    meaning = "for want of a comparison" if unknown else _VERDICTS[drift.verdict]
    return (
        f'<header><p class="kicker">AstrID · alerts of a night</p><h1>{escape(_evening(digest.night))}</h1>'
        f'<p class="lede"><strong>{digest.n:,}</strong> alerts: {surveys}.</p>'
        f'<p><span class="verdict {drift.verdict}">{drift.verdict}</span> '
        f'{escape(meaning)} <span class="aside">({against})</span></p>'
        f"{f'<ul class=reasons>{reasons}</ul>' if reasons else ''}</header>"
    )


def _evening(night: str) -> str:
    try:
        return f"{date.fromisoformat(night):%-d %B %Y}"
    except ValueError:
        return night


def _nights(nights: tuple[str, ...]) -> str:
    return nights[0] if len(nights) == 1 else f"{len(nights)} nights, {nights[0]} to {nights[-1]}"


def _facts(digest: Digest) -> str:
    passed = sum(counts.total() for counts in digest.passes.values())
    p50, p99 = digest.latency(50), digest.latency(99)
    rate = digest.peak_rate
    tiles = [
        ("Alerts", f"{digest.n:,}", f"in {len(digest.batches):,} batches"),
        (
            "Passes",
            f"{passed:,}",
            f"of {len(digest.filters):,} filter{'' if len(digest.filters) == 1 else 's'}",
        ),
        ("Quarantined", f"{digest.n_quarantined:,}", "packets that could not be used"),
        ("Without images", f"{digest.without_images.total():,}", "no score by a model of images"),
        (
            "Latency",
            "–" if p50 is None else _duration(p50),
            "–" if p99 is None else f"median batch; the slowest 1 % up to {_duration(p99)}",
        ),
        ("Busiest", "–" if rate is None else f"{rate:,.3g} <small>/s</small>", "over ten minutes of arrival"),
    ]
    return (
        '<dl class="facts">'
        + "".join(
            f'<div><dt>{name}</dt><dd><div class="value">{value}</div>'
            f'<div class="remark">{remark}</div></dd></div>'
            for name, value, remark in tiles
        )
        + "</dl>"
    )


def _duration(milliseconds: float) -> str:
    if milliseconds < 1000:
        return f"{milliseconds:,.0f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:,.1f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def _rates(digest: Digest) -> str:
    charts = [
        ("When they were observed", figures.night_chart(digest.observed, "Alerts over time of observation")),
        ("When they came", figures.night_chart(digest.arrived, "Alerts over time of arrival")),
    ]
    shown = "".join(
        f'<figure><h3>{name}</h3><div class="scroll">{chart}</div></figure>'
        for name, chart in charts
        if chart
    )
    rows = "".join(
        f'<tr><td class="text">{escape(survey)}</td><td class="text">{escape(band)}</td><td>{n:,}</td></tr>'
        for (survey, band), n in sorted(digest.bands.items())
    )
    return (
        f'<section><h2>Over the night</h2><div class="plots rates">{shown}</div>'
        f'<details><summary>By survey and band</summary><div class="wide"><table><thead><tr>'
        '<th class="text">survey</th><th class="text">band</th><th>alerts</th></tr></thead><tbody>'
        f"{rows}</tbody></table></div></details></section>"
    )


def _scores(digest: Digest, reference: Sample) -> str:
    if not digest.scores:
        return '<section><h2>Scores</h2><p class="empty">No bundle was asked.</p></section>'
    before = reference.table
    parts = []
    for name, one in digest.scores.items():
        past = None
        if before is not None and name in before.column_names:
            values = before[name].to_numpy()
            past = values[np.isfinite(values)]
        decided = ", ".join(f"{n:,} {escape(label)}" for label, n in one.decisions.most_common())
        unlike = f"; {one.unlike:,} unlike its training data" if one.unlike else ""
        hashes = ", ".join(f"<code>{escape(text[:12])}</code>" for text in sorted(one.hashes))
        parts.append(
            f"<figure><h3>{escape(name)}</h3>{figures.score_chart(one, past, f'Scores of {name}')}"
            f"<figcaption>{one.n:,} scored: {decided or 'nothing decided'}{unlike}. Model {hashes}."
            "</figcaption></figure>"
        )
    return f'<section><h2>Scores</h2><div class="plots">{"".join(parts)}</div></section>'


def _candidates(store: Store, digest: Digest, layouts: tuple[Layout, ...]) -> str:
    if not digest.top:
        return ""
    cards = "".join(_card(store, one, layouts) for one in digest.top)
    return (
        '<section><h2>To be looked at first</h2><p class="note">Alerts that passed a filter, then the most '
        "probable; one for each object. Difference: orange is brighter than the reference, blue fainter. "
        "Light curve: filled marks brighter, open ones fainter than the reference; triangles are limits."
        f'</p><ol class="cards">{cards}</ol></section>'
    )


def _card(store: Store, one: Candidate, layouts: tuple[Layout, ...]) -> str:
    facts = one.facts
    name = facts.get("object_id") or one.alert_id
    picture, problem = "", ""
    try:
        picture = figures.cutouts_uri(_alert(store, one, layouts))
        problem = "" if picture else str(facts.get("image_problem") or "no images")
    except (StoreError, PacketError) as error:
        problem = str(error)
    images = (
        f'<img src="{picture}" alt="Science, reference and difference of {escape(name)}">'
        '<div class="channels" aria-hidden="true"><span>science</span><span>reference</span>'
        "<span>difference</span></div>"
        if picture
        else f'<div class="none">{escape(problem)}</div>'
    )
    curve = ""
    if facts.get("object_id"):
        table = store.light_curve(one.survey, facts["object_id"])
        curve = figures.light_curve_chart(table, facts.get("mjd"), f"Light curve of {name}")
    magnitude = "" if facts.get("magpsf") is None else f"{facts['magpsf']:.2f}"
    spread = "" if facts.get("sigmapsf") is None else f" ± {facts['sigmapsf']:.2f}"
    light = f"<b>{magnitude}</b>{spread} mag" if magnitude else "no magnitude"
    band = f" in {escape(facts['band'])}" if facts.get("band") else ""
    sign = {True: "brighter", False: "fainter"}.get(facts.get("positive"), "")  # type: ignore[arg-type]
    sky = ""
    if facts.get("ra") is not None and facts.get("dec") is not None:
        sky = f"{facts['ra']:.5f} {facts['dec']:+.5f}".replace("-", "−") + " · "
    scores = " · ".join(
        f"{escape(model)} <b>{facts[model]:.3f}</b>"
        for model in models(tuple(facts))
        if facts.get(model) is not None
    )
    flags = "".join(f'<span class="flag found">{escape(name)}</span>' for name in one.filters)
    return (
        f'<li class="card">{images}<header><h3>{escape(name)} <span class="aside">{sign}</span></h3></header>'
        f"<p>{light}{band} · {escape(one.survey)}</p><p>{scores or 'not scored'}</p>"
        f"<p>{sky}{escape(one.alert_id)}</p>"
        f"{f'<div class=flags>{flags}</div>' if flags else ''}{curve}</li>"
    )


def _alert(store: Store, one: Candidate, layouts: tuple[Layout, ...]) -> Alert:
    """The alert as it came, from the bytes of its packet."""
    content, suffix = store.packet(one.survey, one.alert_id)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"packet{suffix}"
        path.write_bytes(content)
        return decode(next(iter(read_packets(path))), layouts=layouts)


def _filters(digest: Digest) -> str:
    if not digest.filters:
        return '<section><h2>Filters</h2><p class="empty">No filter was asked.</p></section>'
    rows = ""
    for name in digest.filters:
        counts: Counter[str] = digest.passes.get(name, Counter())
        cells = "".join(f"<td>{n:,}</td>" for n in (counts.total(), *(counts[state] for state in STATES)))
        rows += f'<tr><td class="text">{escape(name)}</td>{cells}</tr>'
    heads = "".join(f"<th>{state}</th>" for state in ("passed", *STATES))
    return (
        '<section><h2>Filters</h2><div class="wide"><table><thead><tr><th class="text">filter</th>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _quarantine(digest: Digest) -> str:
    rows = "".join(
        f'<tr><td>{one.n:,}</td><td class="text wrap">{escape(one.kind)}</td><td class="text wrap">'
        + "<br>".join(f"<code>{escape(name)}</code>" for name, _ in one.examples)
        + "</td></tr>"
        for one in digest.refused
    )
    rows += "".join(
        f'<tr><td>{n:,}</td><td class="text wrap">{escape(reason)}</td>'
        '<td class="text wrap">stored, but without images</td></tr>'
        for reason, n in digest.without_images.most_common(10)
    )
    if not rows:
        return '<section><h2>What could not be used</h2><p class="empty">Nothing.</p></section>'
    return (
        '<section><h2>What could not be used</h2><div class="wide"><table><thead><tr><th>packets</th>'
        '<th class="text">reason</th><th class="text">such as</th></tr></thead><tbody>'
        f"{rows}</tbody></table></div></section>"
    )


def _drift(drift: Drift) -> str:
    order = {"act": 0, "watch": 1, "ok": 2}
    shown = sorted(drift.comparisons, key=lambda one: (order[one.level], -one.shift.psi))[:_SHOWN]
    coverage = "".join(
        f'<tr class="{one.level}"><td class="text">{escape(one.model)}</td>'
        f'<td class="text">{escape(one.label)}</td><td>{one.n:,}</td><td>{one.share:.1%}</td>'
        f"<td>{'–' if one.promised is None else f'{one.promised:.1%}'}</td></tr>"
        for one in drift.coverage
    )
    labelled = (
        '<div class="wide"><table><thead><tr><th class="text">sets of</th><th class="text">label</th>'
        f"<th>labelled</th><th>held it</th><th>promised</th></tr></thead><tbody>{coverage}</tbody></table>"
        "</div>"
        if coverage
        else '<p class="note">Nobody has given labels: the coverage of the conformal sets is not known. What '
        "stands in for it is how often a model agrees with the survey’s own score.</p>"
    )
    if not shown:
        return f"<section><h2>Beside other nights</h2>{labelled}</section>"
    rest = len(drift.comparisons) - len(shown)
    more = f'<p class="note">{rest:,} more are in night.json.</p>' if rest else ""
    return (
        '<section><h2>Beside other nights</h2><p class="note">Largest shifts first. The index is the '
        "population stability index without its bias: 0.1 is a little, 0.25 a lot, more where nights always "
        "differ. p is corrected for all tests of the night.</p>"
        f'<figure class="index">{figures.index_chart(drift.comparisons, "Shift of each quantity")}</figure>'
        '<div class="wide"><table><thead><tr><th class="text">quantity</th><th class="text">where</th>'
        "<th>index</th><th>limit</th><th>p</th><th>before</th><th>this night</th><th>alerts</th>"
        f'<th class="text">verdict</th></tr></thead><tbody>{"".join(map(_row, shown))}</tbody></table></div>'
        f"{more}{labelled}</section>"
    )


def _row(one: Comparison) -> str:
    form = "{:.1%}" if one.is_share else "{:.4g}"
    limit = one.limits.get(one.level, min(one.limits.values()))
    before, now = (
        form.format(value).replace("-", "−") for value in (one.shift.centre_reference, one.shift.centre)
    )
    return (
        f'<tr class="{one.level}"><td class="text">{escape(one.quantity)}</td>'
        f'<td class="text">{escape(one.where)}</td><td>{one.shift.psi:.3f}</td><td>{limit:.2f}</td>'
        f"<td>{one.p:.2g}</td><td>{before}</td><td>{now}</td><td>{one.shift.n:,}</td>"
        f'<td class="text">{one.level}</td></tr>'
    )


def _made_by(digest: Digest, drift: Drift, command: str) -> str:
    rows = [("Version", f"AstrID {escape(__version__)}")]
    if command:
        rows.insert(0, ("Command", f"<code>{escape(command)}</code>"))
    if drift.hashes:
        hashes = "<br>".join(
            f"{escape(model)} <code>{escape(', '.join(found))}</code>"
            for model, found in drift.hashes.items()
        )
        rows.append(("Models", hashes))
    if drift.nights:
        rows.append(("Reference", escape(_nights(drift.nights))))
    workers = sorted({one.worker for one in digest.batches if one.worker})
    if workers:
        rows.append(("Workers", escape(", ".join(workers))))
    items = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    return f'<section><h2>How this was made</h2><dl class="made">{items}</dl></section>'
