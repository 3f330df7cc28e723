"""Labelled triplets from real telescope images: what a classifier is tuned and judged on.

The images and what is known of them are described in the README beside them; a detection that
nobody can vouch for is left out. Simulated ones are in `realbogus_data`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DataError, FrameError
from astrid.images.alignment import align
from astrid.images.background import subtract_background
from astrid.images.differencing import DifferenceConfig, DifferenceResult, difference
from astrid.images.frame import Frame
from astrid.images.injection import inject
from astrid.images.mapping import Mapping
from astrid.images.noise import measure_noise
from astrid.images.reading import read_frame
from astrid.images.sources import find_sources
from astrid.learn.dataset import DatasetWriter
from astrid.survey.real_sets import SETS, RealSet
from astrid.survey.realbogus_data import TRIPLET, candidate_columns
from astrid.survey.scoring import stacked

__all__ = ["RealSummary", "real_triplets"]

_THRESHOLD = 4.5
_MOST = 60  # bogus detections kept of one pair
_MATCH = 3.0  # px from a published position
_MARGIN = TRIPLET.shape[0] // 2 + 1  # px from the border of a block: no pixel is in cutouts of two blocks
_PER_INJECTION = 90  # one source for a square of this side, px
_INJECTED_SNR = (5.0, 60.0)
_APART = 30.0  # px between injected sources

_NOTHING = "nothing changed between the exposures"
_PUBLISHED = "published transient"
_STAR = "residual at a star"
_INJECTED = "injected"
_LABELS = (
    "by construction: detections between exposures of one epoch, and at the stars whose residuals the data's "
    "README names or that are saturated, are bogus; the published transients and the sources that were "
    "injected into the frames are real; label_source says which; all other detections are left out"
)


@dataclass(frozen=True)
class RealSummary:
    """What became of the images.

    Parameters
    ----------
    out : str
    n_rows, n_real, n_bogus : int
    n_left_out : int
        Detections without a label, near a border between groups, or beyond the most of a pair.
    n_groups : int
    label_sources, telescopes : dict of str to int
    failed : dict of str to str
        Pair to the reason why it gave nothing.
    """

    out: str
    n_rows: int
    n_real: int
    n_bogus: int
    n_left_out: int
    n_groups: int
    label_sources: dict[str, int]
    telescopes: dict[str, int]
    failed: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        return dict(self.__dict__)


def real_triplets(
    images: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    sets: tuple[str, ...] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> RealSummary:
    """Difference the pairs of real images and write the detections with a label.

    Parameters
    ----------
    images : str or Path
        The folder with ``eso085_pair``, ``decam_pair`` and ``microlensing_series``; a set that is
        absent is left out.
    out : str or Path
        Directory of the data set ``images``.
    seed : int
        Of the injected sources and of what is kept.
    sets : tuple of str, optional
        ``eso085``, ``decam``, ``microlensing``; all if not given.
    on_progress : callable, optional
        Called with the number of pairs done and of all.

    Returns
    -------
    RealSummary

    Raises
    ------
    FrameError
        None of the sets is there.
    OutputError
        `out` cannot be written.
    """
    root = Path(images)
    present = [one for one in SETS if (root / one.folder).is_dir() and (sets is None or one.name in sets)]
    if not present:
        folders = ", ".join(one.folder for one in SETS)
        raise FrameError(f"{root}: there is none of the folders {folders}; give the folder that holds them")
    work = [(one, *way) for one in present for way in _ways(one)]
    frames: dict[tuple[str, str], Frame] = {}
    blocks: list[tuple[NDArray[np.float32], dict[str, list[Any]]]] = []
    failed: dict[str, str] = {}
    left_out = 0
    for done, (one, science, reference, changed) in enumerate(work):
        name = f"{one.name}: {science} - {reference}"
        try:
            for file in (science, reference):
                if (one.name, file) not in frames:
                    path = root / one.folder / one.pattern.format(file)
                    frames[one.name, file] = read_frame(path, overrides=one.facts.get(file))
            pair = _Pair(
                one, science, reference, changed, frames[one.name, science], frames[one.name, reference]
            )
            for kept, rows, unused in pair.measured(np.random.default_rng([seed, done])):
                left_out += unused
                if len(kept):
                    blocks.append((kept, rows))
        except DataError as error:
            failed[name] = str(error)
        if on_progress is not None:
            on_progress(done + 1, len(work))
    columns = (
        {name: [value for _, rows in blocks for value in rows[name]] for name in blocks[0][1]}
        if blocks
        else {}
    )
    if not columns:
        raise FrameError(f"{root}: no pair gave a detection with a label ({'; '.join(failed.values())})")
    recipe = {
        "sets": [one.name for one in present], "seed": seed, "threshold": _THRESHOLD, "failed": failed,
        "n_left_out": left_out,
    }  # fmt: skip
    with DatasetWriter(
        out,
        name="images",
        inputs={"triplet": TRIPLET},
        kind="real",
        group="field",
        recipe=recipe,
        labels=_LABELS,
        licence="MIT (DECam, SAAO), BSD-3-Clause (Bosque Alegre)",
    ) as writer:
        for kept, rows in blocks:
            writer.append({"triplet": kept}, rows)
    labels = Counter(columns["real"])
    return RealSummary(
        out=str(out),
        n_rows=len(columns["real"]),
        n_real=labels["real"],
        n_bogus=labels["bogus"],
        n_left_out=left_out,
        n_groups=len(set(columns["field"])),
        label_sources=dict(Counter(columns["label_source"])),
        telescopes=dict(Counter(columns["telescope"])),
        failed=failed,
    )


def _ways(one: RealSet) -> Iterator[tuple[str, str, bool]]:
    """Each pair, in both directions if the set is to be taken so."""
    for science, reference, changed in one.pairs:
        yield science, reference, changed
        if one.both_ways:
            yield reference, science, changed


@dataclass(frozen=True, eq=False)
class _Pair:
    """One pair in one direction."""

    known: RealSet
    science_name: str
    reference_name: str
    changed: bool
    science: Frame
    reference: Frame

    def measured(
        self, rng: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.float32], dict[str, list[Any]], int]]:
        """Triplets, columns and the number left out: of the pair as it is, then with sources injected."""
        config = DifferenceConfig(threshold=_THRESHOLD)
        plain = difference(self.science, self.reference, config)
        mapping = _mapping(self.science, self.reference) if self.known.origin else None

        def there(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
            """Reference pixels of science pixels."""
            return (x, y) if mapping is None else mapping(x, y)

        def common(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
            """Pixels of the frame that positions of the field are given in."""
            return there(x, y) if self.known.origin == self.reference_name else (x, y)

        x, y = _positions(plain)
        labels, sources = self._labels(plain, *common(x, y))
        yield self._rows(plain, labels, sources, common(x, y), None, rng)
        places = _draw(plain, there, self.reference.shape, rng)
        if not len(places):
            return
        low, high = np.log(_INJECTED_SNR)
        snr = np.exp(rng.uniform(low, high, len(places)))
        faded = rng.random(len(places)) < 0.5
        px, py = places.T
        err = plain.flux_err[np.rint(py).astype(int), np.rint(px).astype(int)].astype(float)
        flux, u = snr * err, there(px, py)
        seeds = rng.integers(2**31, size=2)
        science = inject(
            self.science, px[~faded], py[~faded], flux=flux[~faded], psf=plain.psf_science, seed=int(seeds[0])
        )
        reference = inject(
            self.reference,
            u[0][faded],
            u[1][faded],
            flux=flux[faded] * plain.flux_ratio,
            psf=plain.psf_reference,
            seed=int(seeds[1]),
        )
        result = difference(science, reference, config)
        x, y = _positions(result)
        labels, sources, true = _found(result, (x, y), _positions(plain), places, np.where(faded, -snr, snr))
        yield self._rows(result, labels, sources, common(x, y), true, rng)

    def _labels(
        self, result: DifferenceResult, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
        """Label and its source of each detection, "" where there is none; by positions of the field."""
        labels, sources = np.full(len(x), "", "<U5"), np.full(len(x), "", "<U40")
        if not self.changed:
            labels[:], sources[:] = "bogus", _NOTHING
            return labels, sources
        residual = np.zeros(len(x), bool)
        for star_x, star_y, radius in self.known.residuals:
            residual |= np.hypot(x - star_x, y - star_y) <= radius
        if self.known.saturated_are_bogus:
            residual |= np.array(["saturated" in str(flags) for flags in result.candidates["flags"]], bool)
        labels[residual], sources[residual] = "bogus", _STAR
        # the pair is listed with the epoch of the change first; the other direction sees it fade
        forward = any((self.science_name, self.reference_name) == pair[:2] for pair in self.known.pairs)
        seen = self.science_name if forward else self.reference_name
        snr = np.asarray(result.candidates["snr"], float)
        for real_x, real_y in self.known.real:
            near = np.hypot(x - real_x, y - real_y) <= _MATCH
            labels[near], sources[near] = "", ""
            right = near & (snr > 0 if forward else snr < 0)
            if right.any() and seen not in self.known.faded:
                best = int(np.argmax(np.where(right, np.abs(snr), 0)))
                labels[best], sources[best] = "real", _PUBLISHED
        return labels, sources

    def _rows(
        self,
        result: DifferenceResult,
        labels: NDArray[np.str_],
        sources: NDArray[np.str_],
        place: tuple[NDArray[np.float64], ...],
        true: NDArray[np.float64] | None,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float32], dict[str, list[Any]], int]:
        groups = self._groups(*place)
        usable = (labels != "") & (groups != "")
        bogus = rng.permutation(np.flatnonzero(usable & (labels == "bogus")))[:_MOST]
        keep = np.sort(np.concatenate([np.flatnonzero(usable & (labels == "real")), bogus]))
        n, pair = len(keep), f"{self.science_name}-{self.reference_name}"
        kind = "injected" if true is not None else "as it is"
        numbers = np.asarray(result.candidates["id"])[keep].tolist()
        snr = None if true is None else true[keep]
        rows: dict[str, list[Any]] = {
            "id": [f"{self.known.name}-{pair}-{kind}-{one}".replace(" ", "_") for one in numbers],
            "field": groups[keep].tolist(),
            "telescope": [self.known.telescope] * n,
            "pair": [pair] * n,
            "mjd": [self.science.mjd] * n,
            "filter": [self.science.filter] * n,
            "real": labels[keep].tolist(),
            "label_source": sources[keep].tolist(),
            "true_snr": [None] * n if snr is None else snr.tolist(),
            **candidate_columns(result, keep),
        }
        return stacked(result.triplets, TRIPLET.channels, keep), rows, len(labels) - n

    def _groups(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.str_]:
        """The block of the field that each position is in; "" near a border between two."""
        columns, rows = self.known.blocks
        ny, nx = (self.reference if self.known.origin == self.reference_name else self.science).shape
        width, height = nx / columns, ny / rows
        column, row = np.clip(x // width, 0, columns - 1), np.clip(y // height, 0, rows - 1)
        inner = np.ones(len(x), bool)
        for number in range(1, columns):
            inner &= np.abs(x - number * width) >= _MARGIN
        for number in range(1, rows):
            inner &= np.abs(y - number * height) >= _MARGIN
        names = [f"{self.known.name}-{int(c)}-{int(r)}" for c, r in zip(column, row, strict=True)]
        return np.where(inner, np.array(names, dtype=np.str_), "")


def _mapping(science: Frame, reference: Frame) -> Mapping:
    """From science pixels to reference pixels, by the stars."""
    ours, theirs = (measure_noise(subtract_background(frame)[0]) for frame in (science, reference))
    return align(theirs, ours, find_sources(theirs), find_sources(ours)).mapping


def _positions(result: DifferenceResult) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.asarray(result.candidates["x"], float), np.asarray(result.candidates["y"], float)


def _draw(
    plain: DifferenceResult,
    there: Callable[..., tuple[NDArray[np.float64], ...]],
    other_shape: tuple[int, int],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Places for sources, (n, 2) px: in both frames, on good pixels, apart from each other and detections."""
    ny, nx = plain.mask.shape
    border = 3 * plain.fwhm_science
    taken = [*zip(*_positions(plain), strict=True)]
    places: list[tuple[float, float]] = []
    for _ in range(20 * round(nx * ny / _PER_INJECTION**2)):
        if len(places) == max(1, round(nx * ny / _PER_INJECTION**2)):
            break
        x, y = rng.uniform(border, nx - 1 - border), rng.uniform(border, ny - 1 - border)
        u, v = (float(value[0]) for value in there(np.array([x]), np.array([y])))
        if plain.mask[round(y), round(x)] or not (
            border < u < other_shape[1] - 1 - border and border < v < other_shape[0] - 1 - border
        ):
            continue
        clear = all(np.hypot(x - a, y - b) > 3 * plain.fwhm_science for a, b in taken)
        if clear and all(np.hypot(x - a, y - b) > _APART for a, b in places):
            places.append((x, y))
    return np.array(places, float).reshape(-1, 2)


def _found(
    result: DifferenceResult,
    at: tuple[NDArray[np.float64], NDArray[np.float64]],
    before: tuple[NDArray[np.float64], NDArray[np.float64]],
    places: NDArray[np.float64],
    snr: NDArray[np.float64],
) -> tuple[NDArray[np.str_], NDArray[np.str_], NDArray[np.float64]]:
    """Labels, sources and true S/N of the detections: real are those nearest to an injected source.

    A detection that was there before, or of the other sign, is not the source.
    """
    labels, sources = np.full(len(at[0]), "", "<U5"), np.full(len(at[0]), "", "<U40")
    true = np.full(len(at[0]), np.nan)
    measured = np.asarray(result.candidates["snr"], float)
    reach = max(1.5, result.fwhm_science / 2)
    for (x, y), value in zip(places, snr, strict=True):
        separation = np.hypot(at[0] - x, at[1] - y)
        if not len(separation):
            break
        best = int(np.argmin(separation))
        old = np.hypot(before[0] - x, before[1] - y).min(initial=np.inf) <= reach
        if separation[best] <= reach and measured[best] * value > 0 and not old:
            labels[best], sources[best], true[best] = "real", _INJECTED, value
    return labels, sources, true
