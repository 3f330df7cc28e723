"""How the results of ``astrid images`` look on a terminal.

Takes plain values and tables, gives what rich can print; computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid.cli.tables import columns, figures, stack

if TYPE_CHECKING:
    from astropy.table import Table as AstropyTable
    from rich.console import RenderableType

__all__ = [
    "batch_view", "calibration_view", "demo_view", "difference_view", "injection_view", "light_curve_view",
    "survey_view",
]  # fmt: skip

_ROWS = 20
_CANDIDATE_COLUMNS = {
    "id": "{:d}", "x": "{:.2f}", "y": "{:.2f}", "ra": "{:.6f}", "dec": "{:+.6f}", "snr": "{:+.1f}",
    "flux": "{:+.0f}", "mag": "{:.2f}", "mag_err": "{:.2f}", "fwhm": "{:.2f}", "real": "{:.2f}",
    "real_spread": "{:.2f}", "real_decision": "{}", "real_set": "{}", "flags": "{}",
}  # fmt: skip
_CURVE_COLUMNS = {
    "name": "{}", "mjd": "{:.5f}", "flux": "{:+.0f}", "flux_err": "{:.0f}", "snr": "{:+.1f}", "mag": "{:.3f}",
    "mag_err": "{:.3f}", "limiting_mag": "{:.2f}", "flags": "{}",
}  # fmt: skip


def difference_view(summary: Mapping[str, Any], candidates: AstropyTable) -> RenderableType:
    """Figures of a run, its best candidates, and where to look next."""
    return stack(
        figures(_run_rows(summary)),
        _candidates(candidates),
        _notes(summary),
        f"{summary['out']}/report.html",
    )


def demo_view(
    summary: Mapping[str, Any], candidates: AstropyTable, recovered: Mapping[str, Any], threshold: float
) -> RenderableType:
    """The same for the demonstration, and what was recovered."""
    r = recovered
    rows = [
        ("put in", f"{r['n_injected']} changes, {r['n_expected']} of them above {threshold:g} sigma"),
        ("found, clean", f"{r['n_clean']} of {r['n_expected']}"),
        ("found, flagged", f"{r['n_flagged']}"),
        ("missed", f"{r['n_missed']}"),
        ("false, clean", f"{r['n_false_clean']}"),
        ("false, flagged", f"{r['n_false_flagged']} (cosmic rays, trails, bleeds and the like)"),
    ]
    if r["n_fainter"]:
        rows.insert(4, ("found below the threshold", f"{r['n_fainter']}"))
    return stack(
        figures(_run_rows(summary)),
        _candidates(candidates),
        figures(rows, title="What was recovered of what was put in"),
        f"{summary['out']}/report.html",
    )


def batch_view(summary: Mapping[str, Any]) -> RenderableType:
    """One line for each pair."""
    table = columns(
        ("pair", "status", "candidates", "clean", "limit", "seconds", "reason"), numbers=range(2, 6)
    )
    for run in summary["runs"]:
        limit = run.get("limiting_mag_5sigma")
        table.add_row(
            run["name"],
            run["status"],
            *(str(run.get(name, "")) for name in ("n_candidates", "n_unflagged")),
            "" if limit is None else f"{limit:.2f}",
            f"{run['seconds']:.1f}" if "seconds" in run else "",
            run["reason"],
        )
    counts = f"{summary['n_done']} done, {summary['n_skipped']} skipped, {summary['n_failed']} failed"
    return stack(table, f"{summary['n_pairs']} pairs: {counts}", f"{summary['out']}/summary.json")


def light_curve_view(curve: AstropyTable, written: Sequence[str]) -> RenderableType:
    """The light curve, all of it."""
    return stack(_rows(curve, _CURVE_COLUMNS, len(curve)), *written)


def injection_view(summary: Mapping[str, Any]) -> RenderableType:
    """Depth and false positives."""

    def limit(which: str) -> str:
        value, error = summary[f"limit_{which}"], summary[f"limit_{which}_err"]
        if value is None:
            return "beyond the magnitudes that were tried"
        return f"{value:.2f}" + (f" ± {error:.2f}" if error is not None else "")

    kind = "" if summary["calibrated_magnitudes"] else " (instrumental: no zero point)"
    density = summary["false_positives_per_deg2"]
    rows = [
        ("injected", f"{summary['n_injected']} in {summary['rounds']} rounds"),
        ("recovered, clean", f"{summary['n_recovered']}"),
        ("found at all", f"{summary['n_matched']}"),
        (f"50 % complete at mag{kind}", limit("50")),
        (f"90 % complete at mag{kind}", limit("90")),
        (
            "false positives",
            f"{summary['false_positives']:.1f} a run"
            + (f", {density:.0f} per square degree" if density is not None else " (no WCS, hence no area)"),
        ),
    ]
    return stack(figures(rows), f"{summary['out']}/completeness.png")


def calibration_view(summary: Mapping[str, Any]) -> RenderableType:
    """What was done."""
    rows = list(zip(summary["steps"], summary["history"], strict=False))
    rows += [
        (f"{name.replace('_', ' ')} pixels", f"{summary[f'n_{name}']:,}")
        for name in ("bad", "saturated", "cosmic_ray", "trail")
    ]
    return stack(figures(rows), _notes(summary), summary["output"])


def survey_view(summary: Mapping[str, Any]) -> RenderableType:
    """Where the simulated files are, and how to go on."""
    return stack(
        f"{summary['n_pairs']} pairs with their truth in {summary['out']}",
        f"next: astrid images difference --batch {summary['pairs']} --out {summary['out']}-runs",
    )


def _run_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    deep, memory = summary["limiting_mag_5sigma"], summary["peak_memory_mb"]
    flagged = summary["n_candidates"] - summary["n_unflagged"]
    return [
        ("candidates", f"{summary['n_unflagged']} clean, {flagged} flagged"),
        *([("decided real", f"{summary['n_real']} by {summary['model']}")] if summary["model"] else []),
        ("method", f"{summary['method']}: {summary['method_reason']}"),
        (
            "5 sigma limit",
            f"{deep:.2f} mag"
            if deep is not None
            else f"{_known(summary['limiting_flux_5sigma'], '.0f')} ADU",
        ),
        (
            "registration",
            f"{_known(summary['registration_rms_px'], '.3f')} px rms, {summary['registration_method']}",
        ),
        (
            "flux ratio",
            f"{_known(summary['flux_ratio'], '.4f')} ± {_known(summary['flux_ratio_err'], '.4f')}",
        ),
        ("sigma of S_corr", f"{_known(summary['significance_sigma'], '.3f')} (1 is right)"),
        ("cost", f"{summary['seconds']:.1f} s" + (f", {memory:.0f} MB" if memory is not None else "")),
    ]


def _candidates(candidates: AstropyTable) -> RenderableType:
    if len(candidates) == 0:
        return "no candidates"
    if "real" in candidates.colnames:  # sorted already
        return _rows(candidates, _CANDIDATE_COLUMNS, _ROWS)
    flagged = np.array([bool(str(flags)) for flags in candidates["flags"]], bool)
    order = np.lexsort((-np.abs(np.asarray(candidates["snr"], float)), flagged))
    return _rows(candidates[order], _CANDIDATE_COLUMNS, _ROWS)


def _rows(rows: AstropyTable, forms: Mapping[str, str], most: int) -> RenderableType:
    """The first rows of a table; columns that hold nothing are left out."""
    shown = [
        name
        for name in forms
        if name in rows.colnames and any(_cell(value, forms[name]) for value in rows[name])
    ]
    table = columns(shown, numbers=[i for i, name in enumerate(shown) if forms[name] != "{}"])
    for row in rows[:most]:
        table.add_row(*(_cell(row[name], forms[name]) for name in shown))
    if len(rows) > most:
        table.caption = f"and {len(rows) - most} more"
    return table


def _cell(value: Any, form: str) -> str:
    if np.ma.is_masked(value):
        return ""
    if form == "{}":
        return str(value)
    if not np.isfinite(value):
        return ""
    return form.format(int(value) if form == "{:d}" else float(value))


def _known(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)


def _notes(summary: Mapping[str, Any]) -> str:
    return "\n".join(f"note: {sentence}" for sentence in summary["warnings"])
