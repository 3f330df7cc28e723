"""An evaluation as one page and one file of numbers.

The page needs no network and no script; what it says was found in `evaluation`, its charts are
drawn in `evaluation_charts`, its tables and pictures in `evaluation_tables`.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astrid._version import __version__
from astrid.files.directory import product_directory
from astrid.learn import evaluation_charts as charts
from astrid.learn import evaluation_tables as tables
from astrid.learn.bundle import Measured
from astrid.learn.evaluation import Evaluation
from astrid.learn.findings import Curves, HeadFindings
from astrid.learn.task import Binary, Multiclass, Multilabel, Regression
from astrid.pages.page import write_page

if TYPE_CHECKING:
    from astrid.learn.robustness import Robustness

__all__ = ["write_evaluation"]

_OF_OTHER_SCALES = ("AUROC", "outlier fraction", "mean absolute error", "share of peaks within 2 pixels")
"""Figures of slices that do not go into the chart of the others."""

_STYLE = """
.facts { grid-template-columns: repeat(auto-fit, minmax(155px, 1fr)); }
.plot { width: 100%; height: auto; display: block; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: 1.6rem 1.8rem; align-items: start; margin-top: .9rem; }
.plots h3, .slice h3 { font: 600 1rem var(--sans); margin: 0 0 .2rem; }
.chosen td { font-weight: 600; background: color-mix(in srgb, var(--curve) 9%, transparent); }
.badge { display: inline-block; font-size: .78rem; padding: .05rem .6rem; border: 1px solid var(--line); border-radius: 99px; background: var(--raised); color: var(--soft); margin-right: .35rem; }
.mistake img { width: 100%; image-rendering: pixelated; display: block; border-radius: 5px; background: var(--panel); }
.mistake { content-visibility: visible; }
.channels { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; color: var(--soft); font-size: .7rem; text-align: center; margin: .15rem 0 .3rem; }
.cell-strong { font-weight: 600; color: var(--ink); }
.jump { display: flex; flex-wrap: wrap; gap: .4rem 1.2rem; margin-top: 1rem; font-size: .95rem; }
"""  # noqa: E501


def write_evaluation(
    evaluation: Evaluation, out: str | Path, *, turned: Robustness | None = None, command: str = ""
) -> Path:
    """Write ``report.html`` and ``report.json``, both or neither.

    Parameters
    ----------
    evaluation : Evaluation
    out : str or Path
        A directory that does not exist, is empty or holds an evaluation, which is replaced.
    turned : Robustness, optional
        What the bundle says of the same items flipped and rotated.
    command : str
        What made it, for the record.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    OutputError
        The directory cannot be written.
    """
    facts: dict[str, Any] = {"command": command, "software": f"AstrID {__version__}", **evaluation.as_dict()}
    if turned is not None:
        facts["orientations"] = turned.as_dict()
    with product_directory(out, names=("report.html", "report.json"), last="report.json") as staging:
        title = f"{evaluation.bundle} on {evaluation.on}"
        write_page(
            staging / "report.html", title=title, body=_body(evaluation, turned, command), style=_STYLE
        )
        text = json.dumps(facts, indent=1, allow_nan=False, ensure_ascii=False)
        (staging / "report.json").write_text(text + "\n", "utf-8")
    return Path(out) / "report.html"


def _body(evaluation: Evaluation, turned: Robustness | None, command: str) -> str:
    several = len(evaluation.heads) > 1
    sections = [_head(evaluation, head, several) for head in evaluation.heads]
    if turned is not None:
        sections.append(_turned(turned))
    return "\n".join(
        (_header(evaluation), _warnings(evaluation), *sections, tables.made_by(evaluation, command))
    )


def _header(evaluation: Evaluation) -> str:
    first = evaluation.heads[0]
    group = "" if evaluation.task.group == "group" else f" ({escape(evaluation.task.group)})"
    badges = [f"{evaluation.kind} data"]
    badges.append("like the training data" if evaluation.domain == "in" else "unlike the training data")
    many = len(evaluation.heads)
    jump = "".join(
        f'<a href="#{escape(head.name)}">{escape(head.name)}: {escape(_verdict(evaluation, head))}</a>'
        for head in evaluation.heads
    )
    return (
        f'<header><p class="kicker">AstrID · evaluation of {escape(evaluation.bundle)}</p>'
        f"<h1>{escape(_verdict(evaluation, first) if many == 1 else f'{many} questions, one model')}</h1>"
        f'<p class="lede"><strong>{escape(evaluation.task.title or evaluation.task.name)}</strong>, measured '
        f"on {evaluation.n:,} items of {evaluation.n_groups:,} groups{group} of "
        f"<strong>{escape(evaluation.on)}</strong>. Intervals hold 95 % of {evaluation.resamples} resamples "
        "of whole groups.</p>"
        f"<p>{''.join(f'<span class=badge>{escape(one)}</span>' for one in badges)}</p>"
        f"{f'<nav class=jump>{jump}</nav>' if many > 1 else ''}</header>"
    )


def _verdict(evaluation: Evaluation, head: HeadFindings) -> str:
    """What came out, in one line."""
    names = {one.name.removeprefix(f"{head.name}: "): one for one in head.measured}
    match head.head:
        case Binary(labels=(no, yes)):
            at = "the threshold" if "FNR at the threshold" in names else "0.5"
            missed, alarms = names[f"FNR at {at}"].value, names[f"FPR at {at}"].value
            return f"Misses {tables.percent(missed)} of {yes}, lets {tables.percent(alarms)} of {no} through"
        case Multiclass():
            return f"{tables.percent(names['balanced accuracy'].value)} right, averaged over classes"
        case Multilabel():
            return f"Mean AUCPR {names['mean AUCPR'].value:.3f} over {len(head.counts)} labels"
        case Regression(names=numbers, unit=unit):
            first = next(one for name, one in names.items() if name.endswith("NMAD"))
            return f"{numbers[0]} within {first.value:.3g}{f' {unit}' if unit else ''} (NMAD)"
    return f"Mean absolute error {names['mean absolute error'].value:.3g}"


def _warnings(evaluation: Evaluation) -> str:
    sentences = []
    if evaluation.out_of_range:
        share = evaluation.out_of_range / evaluation.n
        sentences.append(
            f"{evaluation.out_of_range:,} items ({tables.percent(share)}) are not like what the model was "
            "trained on."
        )
    if evaluation.n_groups < 10:
        sentences.append(f"There are {evaluation.n_groups} groups only; intervals over so few are too short.")
    for head in evaluation.heads:
        if head.unlabelled:
            sentences.append(f"{head.unlabelled:,} items have no label for {head.name} and do not count.")
        sentences.extend((*_broken_promises(head), *_dear_thresholds(head)))
    if evaluation.limits:
        sentences.append(f"Limits of the model: {evaluation.limits}")
    if not sentences:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<section class="warnings" role="note"><h2>To know</h2><ul>{items}</ul></section>'


def _broken_promises(head: HeadFindings) -> list[str]:
    """Sets that hold their labels less often than they should, beyond chance."""
    found = []
    for label, wanted in (head.sets.wanted if head.sets else {}).items():
        reached = _figure(head, f"sets hold {label}")
        if reached is not None and reached.high is not None and reached.high < wanted:
            found.append(
                f"The sets hold {label} in {tables.percent(reached.value)} of its items, less than the "
                f"{tables.percent(wanted)} that were promised: these data are not like those that they were "
                "found on."
            )
    return found


def _dear_thresholds(head: HeadFindings) -> list[str]:
    """Thresholds that cost much more than they need to on these data."""
    found = []
    for curve in head.curves:
        chosen = next((one for one in curve.prices), None)
        best = min((one.cost for one in curve.prices), default=0)
        if chosen is not None and chosen.cost > 1.5 * best:
            found.append(
                f"The threshold {curve.threshold:.3g} on {curve.label} costs "
                f"{chosen.cost / max(best, 1e-9):.1f} times what the best one on these data would: it suits "
                "another share of positive items, or other data."
            )
    return found


def _figure(head: HeadFindings, name: str) -> Measured | None:
    return next((one for one in head.measured if one.name.removeprefix(f"{head.name}: ") == name), None)


def _head(evaluation: Evaluation, head: HeadFindings, several: bool) -> str:
    title = f'<h2 id="{escape(head.name)}">{escape(head.name)}</h2>' if several else ""
    return "\n".join(
        part
        for part in (
            title,
            tables.tiles(head),
            _prices(evaluation, head),
            _curves(head),
            tables.confusion_table(head),
            tables.set_table(head),
            _slices(head),
            tables.mistake_cards(evaluation, head),
            tables.figure_table(head.measured, head.counts),
        )
        if part
    )


def _prices(evaluation: Evaluation, head: HeadFindings) -> str:
    parts = []
    for curve in head.curves:
        if curve.cost is not None:
            name = f": {escape(curve.label)}" if len(head.curves) > 1 else ""
            table = tables.price_table(evaluation, curve)
            parts.append(f"<section><h2>The price of each threshold{name}</h2>{table}</section>")
    return "".join(parts)


def _curves(head: HeadFindings) -> str:
    plots: list[tuple[str, str]] = []
    shown = head.curves[:8]
    if shown:
        plots.append(
            ("Precision and recall", charts.precision_recall_chart(shown, f"Precision of {head.name}"))
        )
        plots.append(("Recall and false positives", charts.roc_chart(shown, f"ROC of {head.name}")))
    for curve in shown:
        plots += _curves_of_one(head, curve)
    unit = getattr(head.head, "unit", "")
    for one in head.residuals:
        plots.append(
            (f"Errors of {one.name}", charts.residuals_chart(one, unit, f"Errors of {head.name} {one.name}"))
        )
    if head.spread is not None:
        error = "share of wrong decisions" if head.counts else "median error"
        chart = charts.spread_chart(head.spread, error, f"Spread and errors of {head.name}")
        plots.append(("Does the spread tell when it is wrong?", chart + tables.spread_note(head.spread)))
    if not plots:
        return ""
    figures = "".join(f"<figure><h3>{escape(name)}</h3>{plot}</figure>" for name, plot in plots)
    title = "At all thresholds" if shown else "Errors"
    return f'<section><h2>{title}</h2><div class="plots">{figures}</div></section>'


def _curves_of_one(head: HeadFindings, curve: Curves) -> list[tuple[str, str]]:
    """Charts of one yes or no; of one among many labels only whether it comes true."""
    alone = len(head.curves) == 1
    same = not any(one.name.endswith("before calibration") for one in head.measured)
    label = f"{head.name} {curve.label}"
    name = "Do probabilities come true?" if alone else f"Does {curve.label} come true?"
    before, after = curve.reliability_before, curve.reliability
    plots = [(name, charts.reliability_chart(before, after, f"Reliability of {label}", same=same))]
    if alone:
        no = head.head.labels[0] if isinstance(head.head, Binary) else "others"
        plots.append(
            ("What gets which probability", charts.histogram_chart(curve, no, f"Probabilities of {label}"))
        )
    if curve.cost is not None:
        title = "What a threshold costs" if alone else f"What a threshold on {curve.label} costs"
        plots.append((title, charts.cost_chart(curve, f"Cost of each threshold of {label}")))
    return plots


def _turned(found: Robustness) -> str:
    chart = charts.orientation_chart(found, f"Error and spread of {found.head} over orientations")
    return (
        f'<section><h2>However it is turned</h2><p class="note">{len(found.rows):,} items in '
        f"{len(found.orientations)} flips and rotations. Error: {escape(found.error_name)}; spread: its "
        f'standard deviation over the orientations.</p><div class="plots"><figure>{chart}</figure></div>'
        f"{tables.figure_table(found.measured)}</section>"
    )


def _slices(head: HeadFindings) -> str:
    columns = list(dict.fromkeys(one.column for one in head.slices))
    names = tables.slice_names(head.slices)
    drawn = [name for name in names if not name.endswith(_OF_OTHER_SCALES)] or names[:1]
    plots, rows = [], []
    for column in columns:
        parts = [one for one in head.slices if one.column == column]
        rows.append(tables.slice_table(column, parts, names))
        if any(one.measured for one in parts):
            chart = charts.slice_chart(parts, drawn, f"{head.name} by {column}")
            plots.append(f"<figure><h3>By {escape(column)}</h3>{chart}</figure>")
    if not columns:
        return ""
    return (
        f'<section><h2>Where it is weak</h2><div class="plots">{"".join(plots)}</div>'
        f"<details><summary>The same as numbers</summary>{''.join(rows)}</details></section>"
    )
