"""The pictures of a report: the four images, the cutouts, the PSFs, and two charts.

Decides what is drawn at which stretch; how a picture is encoded is in `pictures`,
where it stands on the page in `report`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from astrid.images.frame import Flag
from astrid.pages.charts import Curve, chart
from astrid.pages.pictures import asinh_grey, bin_extreme, bin_mean, data_uri, diverging, robust_sigma

if TYPE_CHECKING:
    from astrid.images.differencing import DifferenceResult
    from astrid.images.psf import PSF

__all__ = ["Picture", "cutout_sprite", "histogram", "image_pictures", "psf_montage", "psf_profiles"]

_LONGEST = 1100  # px of a picture's longer side; larger images are binned
_SIGNIFICANCE_LIMIT = 10.0  # where the colours of the significance map end


@dataclass(frozen=True)
class Picture:
    """One picture of a report.

    Parameters
    ----------
    key, title : str
    uri : str
        The PNG file as a ``data:`` address.
    alt : str
        What it shows, for those who cannot see it.
    scale : str
        What the colours mean.
    """

    key: str
    title: str
    uri: str
    alt: str
    scale: str


def image_pictures(result: DifferenceResult) -> list[Picture]:
    """Science, reference, difference and significance, all of one size, north of the array up.

    Science and reference share one stretch, with the reference scaled to the science
    frame's flux; the row with y = 0 is at the bottom.
    """
    science = result.science
    factor = max(1, -(-max(science.shape) // _LONGEST))
    covered = np.asarray(result.mask & Flag.NO_DATA == 0)
    new, new_blank = bin_mean(science.data, science.mask & Flag.NO_DATA == 0, factor)
    old, old_blank = bin_mean(result.reference.data, result.reference.mask & Flag.NO_DATA == 0, factor)
    old = old / np.float32(result.flux_ratio)
    low, high, softening = _stretch(new[~new_blank], old[~old_blank])
    flat, blank = bin_mean(result.difference, covered, factor)
    limit = 8 * robust_sigma(flat[~blank][::7]) or 1.0
    peaks, _ = bin_extreme(result.significance, covered, factor)

    binned = f", averaged over {factor}×{factor} px" if factor > 1 else ""
    grey = f"asinh, {low:,.0f} to {high:,.0f} ADU".replace("-", "−") + f", the same for both{binned}"
    significance = f"orange new, blue gone; colours end at ±{_SIGNIFICANCE_LIMIT:g}σ" + (
        f", largest of {factor}×{factor} px" if factor > 1 else ""
    )
    change = f"orange new, blue gone; ±{limit:,.3g} ADU{binned}"
    rows = (
        ("science", "Science", asinh_grey(new, low, high, softening, new_blank), grey),
        ("reference", "Reference", asinh_grey(old, low, high, softening, old_blank), grey),
        ("difference", "Difference", diverging(flat, limit, blank), change),
        ("significance", "Significance", diverging(peaks, _SIGNIFICANCE_LIMIT, blank), significance),
    )
    meaning = {
        "science": "the science image, sky subtracted",
        "reference": "the reference image on the grid of the science image",
        "difference": "science minus reference",
        "significance": "how significant a change is at each pixel",
    }
    return [
        Picture(
            key, title, data_uri(index[::-1]), f"{title}: {meaning[key]}, with the candidates circled", scale
        )
        for key, title, index, scale in rows
    ]


def cutout_sprite(result: DifferenceResult, rows: NDArray[np.integer]) -> str:
    """One picture with the cutouts of some candidates: a row each, four columns.

    The columns are science, reference, difference and significance. Science and
    reference share a stretch in each row; what lies outside the image is transparent.

    Parameters
    ----------
    result : DifferenceResult
    rows : (n,) int ndarray
        Rows of the candidate table, in the order in which they shall stand.

    Returns
    -------
    str
        A ``data:`` address.
    """
    triplets = result.triplets
    size = triplets["science"].shape[-1]
    sprite = np.zeros((size * max(len(rows), 1), size * 4), np.uint8)
    columns = (np.asarray(result.candidates["x"], float), np.asarray(result.candidates["y"], float))
    for place, row in enumerate(rows):
        outside = _outside(triplets["padded"][row], size)
        new = np.asarray(triplets["science"][row])
        old = np.asarray(triplets["reference"][row]) / np.float32(result.flux_ratio)
        change = np.asarray(triplets["difference"][row])
        low, high, softening = _stretch(new[~outside], old[~outside], top=99.8)
        significance, beyond = _window(result.significance, columns[0][row], columns[1][row], size)
        middle = change[size // 2 - 3 : size // 2 + 4, size // 2 - 3 : size // 2 + 4]
        limit = max(5 * robust_sigma(change[~outside]), float(np.nanmax(np.abs(middle), initial=0)))
        strip = np.hstack(
            (
                asinh_grey(new, low, high, softening, outside),
                asinh_grey(old, low, high, softening, outside),
                diverging(change, limit, outside),
                diverging(significance, _SIGNIFICANCE_LIMIT, beyond),
            )
        )
        sprite[place * size : (place + 1) * size] = strip[::-1]
    return data_uri(sprite)


def histogram(result: DifferenceResult) -> str:
    """Histogram of S_corr in unmasked pixels beside a Gaussian of unit width, as SVG."""
    step = max(1, int(np.sqrt(result.significance.size / 1_500_000)))
    values = result.significance[::step, ::step][result.mask[::step, ::step] == 0]
    edges = np.linspace(-8, 8, 81)
    counts, _ = np.histogram(np.clip(values, -8, 8), edges)
    density = counts / max(counts.sum(), 1) / np.diff(edges)
    z = np.linspace(-8, 8, 161)
    floor = 10 ** np.floor(np.log10(0.5 / max(values.size, 10) / (edges[1] - edges[0])))
    return chart(
        [
            Curve(edges, density, f"S_corr, {values.size:,} pixels", "measured", steps=True),
            Curve(z, np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), "unit Gaussian", "expected"),
        ],
        x_label="significance S_corr (the last bins hold all beyond)",
        y_label="density",
        title="Histogram of the significance beside a Gaussian of unit width",
        x_range=(-8, 8),
        y_range=(float(floor), 1.0),
        log_y=True,
    )


def psf_montage(psf: PSF, shape: tuple[int, int]) -> str:
    """The PSF at nine places of the image, as a ``data:`` address."""
    ny, nx = shape
    places = [(x, y) for y in (0.9, 0.5, 0.1) for x in (0.1, 0.5, 0.9)]
    stamps = [np.asarray(psf.at(x * (nx - 1), y * (ny - 1))) for x, y in places]
    size = stamps[0].shape[0]
    half = min(size // 2, max(6, round(2.5 * psf.fwhm)))
    crop = slice(size // 2 - half, size // 2 + half + 1)
    side = 2 * half + 1
    montage = np.zeros((3 * side + 2, 3 * side + 2), np.uint8)
    peak = max(float(stamp.max()) for stamp in stamps) or 1.0
    for place, stamp in enumerate(stamps):
        row, column = divmod(place, 3)
        y, x = row * (side + 1), column * (side + 1)
        # down to a thousandth of the peak: wings that are cut or ring are seen
        tile = asinh_grey(stamp[crop, crop], 0, peak, 0.01 * peak)
        montage[y : y + side, x : x + side] = tile[::-1]
    return data_uri(montage)


def psf_profiles(psfs: dict[str, PSF], shape: tuple[int, int]) -> str:
    """Light of the PSFs at the centre of the image against radius, as SVG."""
    ny, nx = shape
    curves = []
    for (label, psf), kind in zip(psfs.items(), ("measured", "expected"), strict=False):
        stamp = np.asarray(psf.at((nx - 1) / 2, (ny - 1) / 2), float)
        half = stamp.shape[0] // 2
        y, x = np.indices(stamp.shape) - half
        radius = np.hypot(x, y)
        bins = np.arange(half + 1)
        ring = np.round(radius).astype(int).ravel()
        total = np.bincount(ring, stamp.ravel(), half + 1)[: half + 1]
        mean = total / np.maximum(np.bincount(ring, minlength=half + 1)[: half + 1], 1)
        peak = stamp.max() or 1.0
        curves.append(Curve(bins, np.maximum(mean / peak, 1e-9), f"{label}, FWHM {psf.fwhm:.2f} px", kind))
    reach = max(float(curve.x[-1]) for curve in curves)
    return chart(
        curves,
        x_label="radius, px",
        y_label="brightness, peak = 1",
        title="Profiles of the two PSFs",
        x_range=(0, min(reach, 20.0)),
        y_range=(1e-4, 1.5),
        log_y=True,
    )


def _stretch(
    first: NDArray[np.floating], second: NDArray[np.floating], top: float = 99.7
) -> tuple[float, float, float]:
    """Black, white and softening that show the noise and the stars of both images."""
    step = max(1, (first.size + second.size) // 200_000)
    sample = np.concatenate((first.ravel()[::step], second.ravel()[::step]))
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return 0.0, 1.0, 1.0
    centre, sigma = float(np.median(sample)), robust_sigma(sample) or 1.0
    high = max(float(np.percentile(sample, top)), centre + 15 * sigma)
    return centre - 2.5 * sigma, high, 3 * sigma


def _window(
    plane: NDArray[np.floating], x: float, y: float, size: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Square around a position, and which of its pixels lie outside the plane."""
    rows = np.arange(size) + round(y) - size // 2
    columns = np.arange(size) + round(x) - size // 2
    inside = np.outer((rows >= 0) & (rows < plane.shape[0]), (columns >= 0) & (columns < plane.shape[1]))
    window = plane[np.ix_(rows.clip(0, plane.shape[0] - 1), columns.clip(0, plane.shape[1] - 1))]
    return np.where(inside, window, 0).astype(np.float32), ~inside


def _outside(padded: NDArray[np.integer], size: int) -> NDArray[np.bool_]:
    """Pixels of a cutout that were padded."""
    left, right, bottom, top = (int(side) for side in padded)
    outside = np.ones((size, size), bool)
    outside[bottom : size - top, left : size - right] = False
    return outside
