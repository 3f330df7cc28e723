"""Tables, tiles and pictures of an evaluation's page, as HTML.

Nothing is measured here; the page is put together in `evaluation_report`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from astrid._version import __version__
from astrid.learn.bundle import Measured
from astrid.learn.evaluation import Evaluation
from astrid.learn.findings import Curves, HeadFindings, Mistake, Slice, SpreadCheck
from astrid.learn.task import Binary, Multiclass, Multilabel, Regression
from astrid.pages.pictures import asinh_grey, data_uri, robust_sigma

__all__ = [
    "confusion_table", "figure_table", "made_by", "mistake_cards", "percent", "price_table", "set_table",
    "slice_names", "slice_table", "spread_note", "tiles",
]  # fmt: skip

_TILES = {
    "binary": (
        "AUCPR", "recall at FPR 1 %", "FNR at the threshold", "FPR at the threshold", "ECE", "Brier score",
        "FNR at 0.5", "FPR at 0.5",
    ),
    "multiclass": ("accuracy", "balanced accuracy", "macro F1", "mean AUCPR", "ECE", "log loss"),
    "multilabel": ("mean AUCPR",),
    "regression": ("bias", "NMAD", "outlier fraction", "mean absolute error", "root mean square error"),
    "heatmap": (
        "mean absolute error", "median offset of the peak in pixels", "share of peaks within 2 pixels",
    ),
}  # fmt: skip
_MOST_SETS = 12
_SHARES = ("FNR", "FPR", "recall", "accuracy", "share", "fraction", "sets hold", "precision")


def percent(share: float) -> str:
    """A share as people read it: three digits, and no more than two after the point."""
    value = 100 * share
    digits = 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f} %"


def tiles(head: HeadFindings) -> str:
    """The most important figures, each with its interval."""
    names = {one.name.removeprefix(f"{head.name}: "): one for one in head.measured}
    wanted = [name for name in _TILES[head.head.kind] if name in names]
    if isinstance(head.head, Multilabel):
        wanted += [f"{label}: AUCPR" for label in head.head.labels]
    if isinstance(head.head, Regression) and len(head.head.names) > 1:
        wanted = [f"{name}: {what}" for name in head.head.names for what in ("bias", "NMAD")]
    shown = "".join(_tile(name, names[name], names) for name in wanted[:6] if name in names)
    return f'<dl class="facts">{shown}</dl>'


def _tile(name: str, one: Measured, names: dict[str, Measured]) -> str:
    before = names.get(f"{name} before calibration")
    remark = (
        "" if one.low is None or one.high is None else f"{_value(name, one.low)} to {_value(name, one.high)}"
    )
    if before is not None:
        remark += f"; {_value(name, before.value)} before calibration"
    return (
        f'<div><dt>{escape(name)}</dt><dd><span class="value">{_value(name, one.value)}</span>'
        f'<div class="remark">{remark}</div></dd></div>'
    )


def _value(name: str, value: float) -> str:
    return percent(value) if any(word in name for word in _SHARES) else f"{value:.3g}"


def price_table(evaluation: Evaluation, curve: Curves) -> str:
    """What each threshold gives in a night, and what it asks for."""
    rate = evaluation.night_rate
    per = "a night" if rate else "1,000 items"
    share = evaluation.prevalence
    if share is None:
        share = curve.n_positive / (curve.n_positive + curve.n_negative)
        source = "as in these data"
    else:
        source = "as was given"
    said = f"{rate:,.0f} items a night" if rate else "1,000 items, as no nightly rate was given"
    rows = "".join(
        f'<tr{" class=chosen" if k == 0 else ""}><td class="text">{escape(one.rule)}</td>'
        f"<td>{one.threshold:.4g}</td><td>{percent(1 - one.miss)}</td><td>{percent(one.false_alarm)}</td>"
        f"<td>{'–' if one.purity is None else percent(one.purity)}</td><td>{_count(one.to_look_at)}</td>"
        f"<td>{_count(one.found)}</td><td>{_count(one.missed)}</td><td>{_count(one.in_vain)}</td>"
        f"<td>{_count(one.cost)}</td></tr>"
        for k, one in enumerate(curve.prices)
    )
    return (
        f'<p class="note">For {said}, {percent(share)} of them {escape(curve.label)}, {source}. The first '
        "row is the bundle’s own threshold; the others were found on these very items.</p>"
        f'<div class="wide"><table><thead><tr><th class="text">threshold for</th><th>at</th><th>recall</th>'
        f"<th>false positives</th><th>purity</th><th>to look at<small>{per}</small></th><th>found</th>"
        f"<th>missed</th><th>in vain</th><th>cost<small>{per}</small></th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.2g}"


def confusion_table(head: HeadFindings) -> str:
    """What was taken for what, in items and shares of each true class."""
    if head.confusion is None or not isinstance(head.head, Binary | Multiclass):
        return ""
    labels = head.head.labels
    top = "".join(f"<th>{escape(label)}</th>" for label in labels)
    rows = "".join(
        f'<tr><td class="text cell-strong">{escape(label)}</td>'
        + "".join(
            f'<td style="background:color-mix(in srgb, var(--{"curve" if k == row else "expected"}) '
            f'{45 * n / max(counts.sum(), 1):.0f}%, transparent)">{n:,} '
            f'<span class="aside">{percent(n / max(counts.sum(), 1))}</span></td>'
            for k, n in enumerate(counts.tolist())
        )
        + "</tr>"
        for row, (label, counts) in enumerate(zip(labels, head.confusion, strict=True))
    )
    return (
        '<section><h2>What is taken for what</h2><div class="wide"><table><thead><tr>'
        f'<th class="text">true class, and found as</th>{top}</tr></thead><tbody>{rows}</tbody></table></div>'
        "</section>"
    )


def set_table(head: HeadFindings) -> str:
    """What the conformal sets hold, and whether they keep their promise."""
    if head.sets is None:
        return ""
    labels = list(head.counts)
    total = sum(head.counts.values())
    rows = ""
    ordered = sorted(head.sets.counts.items(), key=lambda item: -sum(item[1].values()))
    if len(ordered) > _MOST_SETS:
        rest = [counts for _, counts in ordered[_MOST_SETS:]]
        summed = {label: sum(counts[label] for counts in rest) for label in labels}
        ordered = [*ordered[:_MOST_SETS], (f"{len(rest)} other sets", summed)]
    for text, counts in ordered:
        n = sum(counts.values())
        meaning = "neither: novel" if text == "novel" else text.replace("+", " or ")
        doubt = " · to a person" if "+" in text or text == "novel" else ""
        cells = "".join(f"<td>{counts[label]:,}</td>" for label in labels)
        rows += (
            f'<tr><td class="text cell-strong">{escape(meaning)}<span class="aside">{doubt}</span></td>'
            f"{cells}<td>{percent(n / total)}</td></tr>"
        )
    promises = []
    for label, wanted in head.sets.wanted.items():
        one = next((one for one in head.measured if one.name.endswith(f"sets hold {label}")), None)
        if one is not None:
            span = (
                "" if one.low is None or one.high is None else f" ({percent(one.low)} to {percent(one.high)})"
            )
            promises.append(
                f"{escape(label)} in {percent(one.value)}{span} of its items, {percent(wanted)} promised"
            )
    top = "".join(f"<th>{escape(label)}<small>true</small></th>" for label in labels)
    return (
        f'<section><h2>Sets with a promise</h2><p class="note">The sets hold {"; ".join(promises)}.</p>'
        f'<div class="wide"><table><thead><tr><th class="text">set</th>{top}<th>of all items</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def slice_names(parts: Sequence[Slice]) -> list[str]:
    """Names of the figures of these parts, each once and always in the same order."""
    return sorted({one.name.rpartition(": ")[2] for part in parts for one in part.measured})


def slice_table(column: str, parts: Sequence[Slice], names: Sequence[str]) -> str:
    """Figures of each part of a column."""
    rows = ""
    for part in parts:
        found = {one.name.rpartition(": ")[2]: one for one in part.measured}
        cells = "".join(f"<td>{_measured(name, found.get(name))}</td>" for name in names)
        note = f' <span class="aside">{escape(part.note)}</span>' if part.note else ""
        rows += f'<tr><td class="text">{escape(part.name)}{note}</td><td>{part.n:,}</td>{cells}</tr>'
    top = "".join(f"<th>{escape(name)}</th>" for name in names)
    return (
        f'<div class="wide"><table><thead><tr><th class="text">{escape(column)}</th><th>items</th>{top}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _measured(name: str, one: Measured | None) -> str:
    if one is None:
        return "–"
    if one.low is None or one.high is None:
        return _value(name, one.value)
    return (
        f"{_value(name, one.value)} "
        f'<span class="aside">{_value(name, one.low)} to {_value(name, one.high)}</span>'
    )


def spread_note(check: SpreadCheck) -> str:
    """What the spread is worth, as a caption."""
    if check.measured is None:
        return f"<figcaption>Of {check.n:,} items none is wrong.</figcaption>"
    one = check.measured
    span = "" if one.low is None or one.high is None else f" ({one.low:.3g} to {one.high:.3g})"
    name = one.name.rpartition(": ")[2]
    return f"<figcaption>{escape(name)}: <b>{one.value:.3f}</b>{span}, on {check.n:,} items.</figcaption>"


def mistake_cards(evaluation: Evaluation, head: HeadFindings) -> str:
    """The items that the model is most wrong about, with their pictures."""
    if not head.mistakes:
        return ""
    kinds = list(dict.fromkeys(one.kind for one in head.mistakes))
    parts = []
    for kind in kinds:
        cards = "".join(_card(evaluation, head, one) for one in head.mistakes if one.kind == kind)
        name = {"false alarm": "False alarms", "missed": "Missed"}.get(kind, "Wrong")
        parts.append(f'<h3>{name}, the surest first</h3><ol class="cards">{cards}</ol>')
    return f"<section><h2>The worst mistakes</h2>{''.join(parts)}</section>"


def _card(evaluation: Evaluation, head: HeadFindings, one: Mistake) -> str:
    pictures = "".join(
        f'<img alt="{escape(name)} of {escape(one.id)}" src="{_picture(image)}">'
        + _channel_names(evaluation.task.inputs[name].channels)
        for name, image in one.images.items()
    )
    number = isinstance(head.head, Binary | Multiclass | Multilabel)
    spread = "" if one.spread is None else f" ± {one.spread:.2g}"
    value = f"{one.value:.4f}{spread}" if number else f"{one.value:+.3g}{spread}"
    truth = f"is {escape(one.truth)}" if one.truth else ""
    said = f"said {escape(one.said)}"
    if isinstance(head.head, Binary):
        value = f"{escape(head.head.labels[1])} {value}"
    chips = ""
    if one.labels_in_set:
        chips += f'<span class="flag none">set: {escape(one.labels_in_set.replace("+", " or "))}</span>'
    if one.applicable:
        chips += '<span class="flag">out of range</span>'
    columns = " · ".join(
        f"{escape(name)} {escape(_short(value))}"
        for name, value in one.columns.items()
        if name != evaluation.task.group
    )
    doubt = f"<p>{escape(one.applicable)}</p>" if one.applicable else ""
    return (
        f'<li class="card mistake">{pictures}<header><h3>{escape(one.id)}</h3>'
        f'<span class="snr">{value}</span></header><p><b>{truth}</b>, {said}</p>'
        f"<p>{escape(evaluation.task.group)} {escape(one.group)}{' · ' if columns else ''}{columns}</p>"
        f'{doubt}<div class="flags">{chips}</div></li>'
    )


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _channel_names(channels: Sequence[str]) -> str:
    names = "".join(f"<span>{escape(name)}</span>" for name in channels)
    return f'<div class="channels" aria-hidden="true">{names}</div>' if names else ""


def _picture(image: NDArray[np.float32]) -> str:
    """The channels side by side, each with its own stretch; the first row at the bottom."""
    planes = []
    grown = max(1, 64 // max(image.shape[:2]))  # so that the gap between channels is thin
    for k in range(image.shape[-1]):
        plane = image[..., k]
        low, high = (float(value) for value in np.quantile(plane, (0.02, 0.998)))
        # at least a thousandth of the range: a constant channel stays grey, not noise
        sigma = max(robust_sigma(plane), 1e-3 * (high - low), 1e-30)
        shown = asinh_grey(plane, low, max(high, low + 4 * sigma), 2 * sigma)[::-1]
        planes.append(shown.repeat(grown, axis=0).repeat(grown, axis=1))
        planes.append(np.zeros((len(planes[-1]), 2), np.uint8))
    return data_uri(np.hstack(planes[:-1]))


def figure_table(measured: Sequence[Measured], counts: Mapping[str, int] | None = None) -> str:
    """All figures with their intervals, and how many items there are of each label."""
    rows = "".join(
        f'<tr><td class="text">{escape(one.name)}</td><td>{one.value:.5g}</td>'
        f"<td>{'–' if one.low is None else f'{one.low:.5g}'}</td>"
        f"<td>{'–' if one.high is None else f'{one.high:.5g}'}</td><td>{one.n:,}</td></tr>"
        for one in measured
    )
    known = ", ".join(f"{n:,} {escape(label)}" for label, n in (counts or {}).items())
    return (
        f"<details><summary>All {len(measured)} figures</summary>"
        f'<p class="note">{known}</p><div class="wide"><table><thead><tr><th class="text">figure</th>'
        "<th>value</th><th>low</th><th>high</th><th>items</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def made_by(evaluation: Evaluation, command: str) -> str:
    """What made the page, and from what."""
    facts = {
        "model": f"{evaluation.bundle}, {evaluation.hash}",
        "data": f"{evaluation.on} ({evaluation.kind}), {evaluation.dataset_hash}",
        "intervals": f"{evaluation.resamples} resamples of groups, seed {evaluation.seed}",
        "command": command,
        "software": f"AstrID {__version__}",
    }
    rows = "".join(
        f"<dt>{name}</dt><dd class=mono>{escape(value)}</dd>" for name, value in facts.items() if value
    )
    return f'<section><h2>Made by</h2><dl class="made">{rows}</dl></section>'
