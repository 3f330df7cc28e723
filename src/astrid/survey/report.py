"""One page that shows a run: its verdict, its images and every candidate, in one file.

The page needs no network and no script to be read; scripts add sorting, hiding and
blinking. What the pictures show is decided in `figures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid.images.frame import Frame
from astrid.pages.page import write_page
from astrid.survey import figures
from astrid.survey.cards import candidate_section, number
from astrid.survey.provenance import Provenance
from astrid.survey.scoring import is_scored

if TYPE_CHECKING:
    from astropy.table import Table

    from astrid.images.differencing import DifferenceResult

__all__ = ["write_report"]

_MARKS = 2000  # circles drawn on an image
_MATCH = 3.0  # px within which a candidate is what was put in


def write_report(
    path: Path,
    result: DifferenceResult,
    provenance: Provenance,
    summary: Mapping[str, Any],
    *,
    truth: Table | None = None,
) -> None:
    """Write the report of a run.

    Parameters
    ----------
    path : Path
        The HTML file.
    result : DifferenceResult
    provenance : Provenance
    summary : mapping
        `RunSummary.as_dict`.
    truth : `~astropy.table.Table`, optional
        What was put into a simulated pair: ``x``, ``y``, px of the science frame.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    order = _order(result.candidates)
    found = _near_truth(result.candidates, truth)
    verdict = _verdict(summary, provenance.configuration.get("threshold", 5.0))
    body = "\n".join(
        (
            _header(result, summary, verdict),
            _warnings(summary["warnings"]),
            _facts(result, summary),
            _model(result, summary) if is_scored(result.candidates) else "",
            _images(result, order, truth),
            candidate_section(result, order, found),
            _diagnostics(result),
            _made_by(provenance, summary),
        )
    )
    templates = resources.files("astrid.survey") / "templates"
    script, style = ((templates / f"report.{kind}").read_text("utf-8") for kind in ("js", "css"))
    title = f"{verdict[0]} · {_short(result.science.name)}"
    write_page(path, title=title, body=body, script=script, style=style)


def _order(candidates: Table) -> NDArray[np.integer]:
    """As scoring has put them; without scores clean candidates first, then by falling significance."""
    if is_scored(candidates):
        return np.arange(len(candidates))
    flagged = np.array([bool(str(flag)) for flag in candidates["flags"]], bool)
    return np.lexsort((-np.abs(np.asarray(candidates["snr"], float)), flagged))


def _near_truth(candidates: Table, truth: Table | None) -> NDArray[np.bool_] | None:
    """Which candidates are at the place of something that was put in."""
    if truth is None:
        return None
    x, y = (np.asarray(candidates[name], float)[:, None] for name in "xy")
    return (np.hypot(x - np.asarray(truth["x"]), y - np.asarray(truth["y"])) < _MATCH).any(axis=1)


def _verdict(summary: Mapping[str, Any], threshold: float) -> tuple[str, str]:
    """What came out, in words; and what should be doubted."""
    clean, flagged = summary["n_unflagged"], summary["n_candidates"] - summary["n_unflagged"]
    if clean == 0:
        head = f"Nothing {'clean ' if flagged else ''}changed above {threshold:g}σ"
    else:
        head = f"{clean:,} clean candidate{'s' if clean > 1 else ''}"
    return head, f"{flagged:,} flagged" if flagged else ""


def _header(result: DifferenceResult, summary: Mapping[str, Any], verdict: tuple[str, str]) -> str:
    head, doubt = verdict
    aside = f' <span class="aside">and {doubt}</span>' if doubt and summary["n_unflagged"] else ""
    aside = aside or (f' <span class="aside">({doubt})</span>' if doubt else "")
    science, reference = result.science, result.reference
    reason = result.method_reason.rstrip(".")
    for frame in (science, reference):
        reason = reason.replace(frame.name, _short(frame.name))
    return (
        "<header>"
        f'<p class="kicker">AstrID · image difference</p><h1>{escape(head)}{aside}</h1>'
        f'<p class="lede"><strong>{escape(_short(science.name))}</strong>{_exposure(science)} minus '
        f"<strong>{escape(_short(reference.name))}</strong>{_exposure(reference)}, {science.shape[1]:,} × "
        f"{science.shape[0]:,} px, by {_method_name(result.method)}: "
        f"{escape(reason)}.</p>"
        "</header>"
    )


def _exposure(frame: Frame) -> str:
    """Filter, exposure time and date, as far as they are known."""
    parts = [
        escape(frame.filter) if frame.filter else "",
        f"{frame.exposure:g} s" if frame.exposure else "",
        f"MJD {frame.mjd:.5f}" if frame.mjd else "",
    ]
    known = ", ".join(part for part in parts if part)
    return f" ({known})" if known else ""


def _method_name(method: str) -> str:
    return {"zogy": "proper image subtraction (ZOGY)", "kernel": "a fitted kernel"}.get(
        method, escape(method)
    )


def _warnings(warnings: list[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in warnings)
    title = (
        "Something to know about the input"
        if len(warnings) == 1
        else f"{len(warnings)} things to know about the input"
    )
    return f'<section class="warnings" role="note"><h2>{title}</h2><ul>{items}</ul></section>'


def _facts(result: DifferenceResult, summary: Mapping[str, Any]) -> str:
    sigma, rms = summary["significance_sigma"], summary["registration_rms_px"]
    deep = summary["limiting_mag_5sigma"]
    memory = summary["peak_memory_mb"]
    tiles = [
        (
            "Limiting magnitude, 5σ" if deep is not None else "Limiting flux, 5σ",
            f"{deep:.2f}"
            if deep is not None
            else f"{number(summary['limiting_flux_5sigma'], '{:,.0f}')} <small>ADU</small>",
            "median over the image" if deep is not None else "no zero point, hence no magnitudes",
            "",
        ),
        (
            "Width of the significance",
            number(sigma, "{:.3f}"),
            _sigma_remark(sigma),
            "good" if sigma is not None and abs(sigma - 1) <= 0.03 else "bad",
        ),
        (
            "Registration",
            f"{number(rms, '{:.3f}')} <small>px rms</small>",
            f"by {escape(result.registration_method)}, on {result.n_stars:,} stars",
            "" if rms is not None and rms < 0.1 else "bad",
        ),
        (
            "Flux ratio",
            f"{number(summary['flux_ratio'], '{:.4f}')}",
            f"± {number(summary['flux_ratio_err'], '{:.4f}')}, reference over science",
            "",
        ),
        (
            "FWHM",
            f"{number(summary['fwhm_science'], '{:.2f}')} <small>px</small>",
            f"reference {number(summary['fwhm_reference'], '{:.2f}')} px",
            "",
        ),
        (
            "Cost",
            f"{summary['seconds']:.1f} <small>s</small>",
            f"{summary['cpu_seconds']:.1f} CPU s" + (f", {memory / 1000:.2f} GB" if memory else ""),
            "",
        ),
    ]
    return (
        '<dl class="facts">'
        + "".join(
            f'<div><dt>{name}</dt><dd><div class="value">{value}</div>'
            f'<div class="remark {mood}">{remark}</div></dd></div>'
            for name, value, remark, mood in tiles
        )
        + "</dl>"
    )


def _model(result: DifferenceResult, summary: Mapping[str, Any]) -> str:
    """What the model decided, in a sentence."""
    table = result.candidates
    sets = [str(text) for text in table["real_set"]]
    unlike = sum(1 for reason in table["applicable"] if str(reason))
    parts = [f"<strong>{summary['n_real']:,}</strong> of {len(table):,} candidates are decided real"]
    person, novel = sum("+" in text for text in sets), sets.count("novel")
    if any(sets):
        parts.append(f"{person:,} could be either and should be looked at by a person")
        parts.append(f"{novel:,} look like neither")
    parts.append(f"{unlike:,} are unlike what the model was trained on")
    return (
        f'<p class="lede">By <strong>{escape(summary["model"])}</strong>: {"; ".join(parts)}. '
        "The most probable stand first. Why a candidate has its score is drawn by "
        f"<code>astrid images explain {escape(str(summary['out']))} ID</code>.</p>"
    )


def _sigma_remark(sigma: float | None) -> str:
    if sigma is None:
        return "could not be measured"
    percent = abs(sigma - 1) * 100
    if round(percent) <= 1:
        return "1 is right: the noise is understood"
    way = "high" if sigma > 1 else "low"
    return f"1 is right: every S/N here is {percent:.0f} % too {way}"


def _images(result: DifferenceResult, order: NDArray[np.integer], truth: Table | None) -> str:
    ny, nx = result.science.shape
    marks = _marks(result.candidates, order[:_MARKS], truth, (ny, nx))
    panels = "".join(
        f'<figure data-title="{picture.title}"><span class="sky">'
        f'<img src="{picture.uri}" width="{nx}" height="{ny}" alt="{picture.alt}">{marks}</span>'
        f"<figcaption><b>{picture.title}</b> · {picture.scale}</figcaption></figure>"
        for picture in figures.image_pictures(result)
    )
    shown = min(len(order), _MARKS)
    capped = f" (the first {shown:,} of {len(order):,})" if shown < len(order) else ""
    put_in = '<span><i class="dot truth"></i>injected</span>' if truth is not None else ""
    return (
        "<section><h2>Images</h2>"
        f'<p class="legend"><span><i class="dot clean"></i>clean candidate</span>'
        f'<span><i class="dot doubt"></i>flagged{capped}</span>{put_in}'
        '<label hidden><input type="checkbox" id="circles" checked> circles</label></p>'
        '<p class="note">Row 0 is at the bottom; hatched pixels have no data. Click an image to enlarge it, '
        "then press 1 to 4 to change it and B to blink science and reference.</p>"
        f'<div class="images">{panels}</div></section>'
    )


def _marks(candidates: Table, rows: NDArray[np.integer], truth: Table | None, shape: tuple[int, int]) -> str:
    """Circles around candidates and diamonds around what was put in, as an SVG overlay."""
    ny, nx = shape
    radius = max(7.0, 0.011 * max(ny, nx))
    parts = [f'<svg viewBox="-0.5 -0.5 {nx} {ny}" preserveAspectRatio="none" aria-hidden="true">']
    if truth is not None:
        r = radius * 1.5
        for x, y in zip(np.asarray(truth["x"], float), np.asarray(truth["y"], float), strict=True):
            steps = f"l{r:.1f} {r:.1f}l{-r:.1f} {r:.1f}l{-r:.1f} {-r:.1f}z"
            parts.append(f'<path class="truth-mark" d="M{x:.1f} {ny - 1 - y - r:.1f}{steps}"/>')
    for row in rows[::-1]:
        one = candidates[row]
        kind = "doubt" if str(one["flags"]) else "clean"
        parts.append(
            f'<a href="#c{one["id"]}" tabindex="-1"><circle class="{kind}-mark" cx="{one["x"]:.1f}" '
            f'cy="{ny - 1 - one["y"]:.1f}" r="{radius:.1f}"><title>candidate {one["id"]}, '
            f"S/N {number(one['snr'], '{:+.1f}')}</title></circle></a>"
        )
    return "".join((*parts, "</svg>"))


def _diagnostics(result: DifferenceResult) -> str:
    psfs = {"science": result.psf_science, "reference": result.psf_reference}
    shape = result.science.shape
    tiles = "".join(
        _figure(
            f'<img src="{figures.psf_montage(psf, shape)}" alt="PSF of the {name} image at nine places">',
            f"<b>{name.capitalize()}</b> · FWHM {psf.fwhm:.2f} px, elongation {psf.elongation:.2f}, "
            + (f"{psf.n_stars:,} stars" if psf.n_stars else "assumed: it could not be measured"),
        )
        for name, psf in psfs.items()
    )
    note = "The PSFs at nine places, from corner to corner, stretched to show a hundredth of the peak."
    parts = [
        _figure(figures.histogram(result), "Source-free pixels follow the line; sources make the tails."),
        _figure(figures.psf_profiles(psfs, shape), "The PSFs at the centre of the image."),
        _figure(f'<div class="psfs">{tiles}</div>', note),
    ]
    charts = "".join(parts)
    return f'<section><h2>Can the significance be trusted?</h2><div class="charts">{charts}</div></section>'


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{caption}</figcaption></figure>"


def _made_by(provenance: Provenance, summary: Mapping[str, Any]) -> str:
    rows = [
        ("Command", f"<code>{escape(provenance.command)}</code>"),
        ("Version", f"AstrID {escape(provenance.version)}"),
    ]
    for role, record in provenance.inputs.items():
        rows.append(
            (role.capitalize(), f"{escape(str(record['path']))}<br><code>sha256 {record['sha256']}</code>")
        )
    settings = ", ".join(f"{name} {value}" for name, value in provenance.configuration.items())
    rows.append(("Settings", escape(settings)))
    items = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    return f'<section><h2>How this was made</h2><dl class="made">{items}</dl></section>'


def _short(name: str) -> str:
    return Path(name).name or name
