"""Proper subtraction, against the equations of Zackay et al. 2016 written down a second time.

The oracle filters the whole frame at once in double precision; the tested code
works on tiles in single precision, so they can share no mistake but the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from astrid.images.frame import Frame
from astrid.images.noise import robust_sigma
from astrid.images.proper import MatchedPSFs, subtract
from astrid.images.psf import PSF, moffat_psf

SIGMA_N, SIGMA_R, RATIO = 5.0, 3.0, 0.7
INNER = (slice(48, -48), slice(48, -48))


def zogy(N, R, V_N, V_R, P_n, P_r, F_r):
    """D, S, S_n, V(S) and the response of S to a unit source; F_n = 1, symbols as in the paper."""

    def transform(stamp):
        plane = np.zeros(N.shape)
        plane[: stamp.shape[0], : stamp.shape[1]] = stamp
        return np.fft.fft2(np.roll(plane, (-(stamp.shape[0] // 2), -(stamp.shape[1] // 2)), (0, 1)))

    def image(spectrum):
        return np.fft.ifft2(spectrum).real

    N_hat, R_hat, P_n, P_r = np.fft.fft2(N), np.fft.fft2(R), transform(P_n), transform(P_r)
    power = SIGMA_N**2 * F_r**2 * np.abs(P_r) ** 2 + SIGMA_R**2 * np.abs(P_n) ** 2
    D = (F_r * P_r * N_hat - P_n * R_hat) / np.sqrt(power)  # eq. 13
    F_D = F_r / np.sqrt(SIGMA_N**2 * F_r**2 + SIGMA_R**2)  # eq. 15
    P_D = F_r * P_r * P_n / (F_D * np.sqrt(power))  # eq. 14
    S = F_D * D * np.conj(P_D)  # eqs. 12, 17
    k_r = F_r * np.conj(P_r) * np.abs(P_n) ** 2 / power  # eq. 28
    k_n = F_r**2 * np.conj(P_n) * np.abs(P_r) ** 2 / power  # eq. 29
    V_S = image(np.fft.fft2(V_N) * np.fft.fft2(image(k_n) ** 2))  # eq. 26
    V_S += image(np.fft.fft2(V_R) * np.fft.fft2(image(k_r) ** 2))  # eq. 27
    gain = float(np.sum(np.abs(F_D * P_D) ** 2) / N.size)
    return SimpleNamespace(
        D=image(D) / F_D, S=image(S), S_n=image(k_n * N_hat), V_S=V_S, gain=gain, P_D=image(P_D)
    )


@dataclass(frozen=True, eq=False)
class InTiles(MatchedPSFs):
    """The same filters, on tiles as small as they come."""

    @property
    def curvature(self) -> float:
        return 1.0


def psfs(shape: tuple[int, int]) -> MatchedPSFs:
    """PSFs with signal at every frequency: where both vanish the code puts a floor that the paper has not."""
    science = moffat_psf(2.2, shape, elongation=1.15)
    return MatchedPSFs(science, moffat_psf(2.9, shape, beta=2.8), RATIO)


def scene(shape: tuple[int, int], matching: MatchedPSFs, seed: int = 1) -> tuple[Frame, Frame]:
    """Stars, their photon noise and white sky noise, with the variances that belong to them."""
    rng = np.random.default_rng(seed)
    light = [np.zeros(shape), np.zeros(shape)]
    for x, y, flux in zip(
        rng.uniform(35, shape[1] - 36, 60), rng.uniform(35, shape[0] - 36, 60),
        rng.uniform(500, 20_000, 60), strict=True,
    ):  # fmt: skip
        for image, psf, scale in zip(light, (matching.science, matching.reference), (1, RATIO), strict=True):
            add(image, psf, x, y, flux * scale)
    frames = []
    for image, sigma in zip(light, (SIGMA_N, SIGMA_R), strict=True):
        variance = sigma**2 + image
        frames.append(Frame(rng.normal(image, np.sqrt(variance)), variance=variance))
    return frames[0], frames[1]


def add(image: np.ndarray, psf: PSF, x: float, y: float, flux: float) -> None:
    stamp, (row, column) = psf.draw(x, y)
    image[row : row + stamp.shape[0], column : column + stamp.shape[1]] += flux * stamp


def empty(shape: tuple[int, int], sigma: float, seed: int) -> Frame:
    noise = np.random.default_rng(seed).normal(0, sigma, shape)
    return Frame(noise, variance=np.full(shape, sigma**2))


@pytest.fixture(scope="module")
def whole():
    shape = (330, 360)
    matching = psfs(shape)
    science, reference = scene(shape, matching)
    found = subtract(science, reference, matching)
    planes = (science.data, reference.data, science.variance, reference.variance)
    P_n, P_r = (psf.at(150, 150).astype(float) for psf in (matching.science, matching.reference))
    expected = zogy(*(plane.astype(float) for plane in planes), P_n, P_r, RATIO)
    return SimpleNamespace(science=science, reference=reference, found=found, expected=expected, P_n=P_n)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("difference", "D"), ("score", "S"), ("science_score", "S_n"), ("variance", "V_S")],
)
def test_every_plane_agrees_with_the_equations_of_the_paper(whole, name, symbol):
    ours, theirs = getattr(whole.found, name)[INNER], getattr(whole.expected, symbol)[INNER]
    assert np.abs(ours - theirs).max() < 0.01 * robust_sigma(theirs) + 1e-4 * np.abs(theirs).max()


def test_s_corr_and_the_gain_agree_with_the_equations_of_the_paper(whole):
    ours = whole.found.score / np.sqrt(whole.found.variance)
    theirs = whole.expected.S / np.sqrt(whole.expected.V_S)
    np.testing.assert_allclose(ours[INNER], theirs[INNER], atol=0.01)
    np.testing.assert_allclose(whole.found.gain, whole.expected.gain, rtol=1e-3)


def test_tiles_join_without_seams(whole):
    matching = psfs(whole.science.shape)
    tiled = subtract(
        whole.science, whole.reference, InTiles(matching.science, matching.reference, matching.flux_ratio)
    )
    for name in ("difference", "score", "variance", "gain"):
        one, other = getattr(whole.found, name), getattr(tiled, name)
        assert np.abs(one - other)[INNER].max() < 0.01 * np.sqrt(whole.expected.V_S).min() * (
            1 if name != "difference" else 10
        ), name


def largest_correlation(D: np.ndarray) -> float:
    lags = ((0, 1), (1, 0), (1, 1), (0, 2), (3, 1))
    pairs = [(D[4:, 4:], np.roll(D, lag, (0, 1))[4:, 4:]) for lag in lags]
    return max(abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) for one, other in pairs)


def test_the_noise_of_the_difference_is_white():
    shape = (512, 512)
    found = subtract(empty(shape, SIGMA_N, 5), empty(shape, SIGMA_R, 6), psfs(shape))
    D = found.difference[INNER]
    assert largest_correlation(D) < 0.01
    # eq. 15: D has unit variance before it is scaled by 1 / F_D
    expected = np.sqrt(SIGMA_N**2 * RATIO**2 + SIGMA_R**2) / RATIO
    assert robust_sigma(D) == pytest.approx(expected, rel=0.01)


def test_the_noise_of_the_difference_stays_nearly_white_where_the_optics_pass_nothing():
    shape = (512, 512)
    broad = MatchedPSFs(moffat_psf(3.0, shape), moffat_psf(4.2, shape), RATIO)
    found = subtract(empty(shape, SIGMA_N, 5), empty(shape, SIGMA_R, 6), broad)
    assert largest_correlation(found.difference[INNER]) < 0.1


@pytest.mark.parametrize("correlated", [False, True])
def test_the_score_of_pure_noise_has_unit_width(correlated):
    shape = (1400, 1400)
    science, reference = empty(shape, SIGMA_N, 7), empty(shape, SIGMA_R, 8)
    if correlated:
        kernel = np.outer([0.25, 0.5, 0.25], [0.2, 0.6, 0.2])
        covariance = ndimage.convolve(np.pad(kernel, 2), kernel, mode="constant")[1:-1, 1:-1]
        data = ndimage.convolve(reference.data, kernel, mode="wrap")
        total = covariance.max()
        reference = Frame(
            data,
            variance=np.full(shape, SIGMA_R**2 * total),
            noise_correlation=np.asarray(covariance / total, np.float32),
        )
    found = subtract(science, reference, psfs(shape))
    z = (found.score / np.sqrt(found.variance))[INNER]
    assert np.sqrt(np.mean(np.square(z, dtype=float))) == pytest.approx(1, abs=0.01)


def test_a_new_source_appears_as_its_flux_times_the_psf_of_the_difference(whole):
    shape = whole.science.shape
    image = np.zeros(shape)
    add(image, psfs(shape).science, 170, 160, 5000)
    zero = Frame(np.zeros(shape), variance=np.full(shape, SIGMA_R**2))
    found = subtract(Frame(image, variance=np.full(shape, SIGMA_N**2)), zero, psfs(shape))
    assert (found.score / found.gain)[160, 170] == pytest.approx(5000, rel=0.003)
    expected = 5000 * np.roll(whole.expected.P_D, (160, 170), (0, 1))
    np.testing.assert_allclose(found.difference[INNER], expected[INNER], atol=0.002 * expected.max())
    response = found.response_at(170, 160)
    half = response.psf.shape[0] // 2
    seen = found.difference[160 - half : 161 + half, 170 - half : 171 + half]
    np.testing.assert_allclose(5000 * response.psf, seen, atol=0.01 * seen.max())


@pytest.mark.parametrize(("x", "y"), [(60, 60), (300, 200), (530, 540), (70, 520)])
def test_flux_is_right_everywhere_under_a_psf_that_varies(x, y):
    shape = (600, 600)
    middle, wide = moffat_psf(3.0, shape, half=15).coefficients, moffat_psf(3.2, shape, half=15).coefficients
    slope = (wide - middle) / 2
    science = PSF(np.concatenate([middle, slope, -slope]), 2, 31, shape)
    image = np.zeros(shape)
    add(image, science, x, y, 1000)
    frames = (Frame(image, variance=np.ones(shape)), Frame(np.zeros(shape), variance=np.ones(shape)))
    found = subtract(*frames, MatchedPSFs(science, moffat_psf(3.6, shape), 1.0))
    assert (found.score / found.gain)[y, x] == pytest.approx(1000, rel=0.003)
