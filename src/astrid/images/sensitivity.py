"""What the best possible difference could see: the theory against which results are judged.

It takes the true PSFs and the true variances, so it belongs to simulations and
injections; the pipeline itself measures both (see `proper`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["OptimalFilter", "optimal_filter"]


@dataclass(frozen=True, eq=False)
class OptimalFilter:
    """The matched filter of a proper difference at one place.

    The score is S = k_n * N - k_r * R (correlation kernels already applied as
    convolutions), with N the science and R the reference.

    Parameters
    ----------
    science : (size, size) float64 ndarray
        k_n, centred.
    reference : (size, size) float64 ndarray
        k_r, centred.
    response : float
        Score of a new source of 1 science ADU (F_S).
    own_science : float, per ADU
        Variance that a new source of 1 ADU adds to the score by its own photons, gain 1.
    own_reference : float, per ADU
        The same for a source of 1 science ADU that is only in the reference.
    """

    science: NDArray[np.float64]
    reference: NDArray[np.float64]
    response: float
    own_science: float
    own_reference: float

    def variance(
        self, science_variance: NDArray[np.float64], reference_variance: NDArray[np.float64]
    ) -> float:
        """Variance of the score in the middle of two (size, size) maps of pixel variance, ADU^2."""
        return float(
            np.sum(self.science[::-1, ::-1] ** 2 * science_variance)
            + np.sum(self.reference[::-1, ::-1] ** 2 * reference_variance)
        )

    def flux_for(self, snr: float, variance: float, own: float) -> float:
        """Flux in science ADU of a source with this S/N, its own photon noise included.

        Parameters
        ----------
        snr : float
            Wanted S/N, positive.
        variance : float
            Variance of the score without the source, from `variance`.
        own : float
            Variance of the score per ADU of the source: `own_science` or
            `own_reference` over the gain, negative for a source that fades.

        Returns
        -------
        flux : float, ADU
            Positive root of flux^2 F_S^2 = snr^2 (variance + own flux).
        """
        half = snr**2 * own / (2 * self.response**2)
        return float(half + np.sqrt(half**2 + snr**2 * variance / self.response**2))

    def snr(self, flux: float, variance: float, own: float) -> float:
        """S/N of a source of this flux: the inverse of `flux_for`."""
        return float(abs(flux) * self.response / np.sqrt(variance + own * abs(flux)))


def optimal_filter(
    science_psf: NDArray[np.float64],
    reference_psf: NDArray[np.float64],
    science_variance: float,
    reference_variance: float,
    flux_ratio: float,
) -> OptimalFilter:
    """Matched filter of the proper difference of two images with known PSFs.

    Parameters
    ----------
    science_psf, reference_psf : (size, size) float64 ndarray
        Of sum 1, centred on pixel size // 2, size odd.
    science_variance, reference_variance : float, ADU^2
        Of the background pixels.
    flux_ratio : float
        Reference flux of a star over its science flux.

    Returns
    -------
    OptimalFilter

    References
    ----------
    Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27 (arXiv:1601.02655): eqs. 12 to 16
    for S, 26 to 31 for the variance with source noise.
    """
    size = science_psf.shape[0]
    pn = np.fft.rfft2(np.fft.ifftshift(science_psf))
    pr = flux_ratio * np.fft.rfft2(np.fft.ifftshift(reference_psf))
    noise = reference_variance * np.abs(pn) ** 2 + science_variance * np.abs(pr) ** 2
    noise = np.maximum(noise, 1e-14 * noise.max())
    # where both PSFs vanish there is no information, and the floor keeps 0/0 out
    kn = np.conj(pn) * np.abs(pr) ** 2 / noise
    kr = np.conj(pr) * np.abs(pn) ** 2 / noise
    k_science, k_reference = (np.fft.fftshift(np.fft.irfft2(kernel, s=(size, size))) for kernel in (kn, kr))
    response = float(np.fft.irfft2(kn * pn, s=(size, size))[0, 0])
    return OptimalFilter(
        science=k_science,
        reference=k_reference,
        response=response,
        own_science=float(np.sum(k_science[::-1, ::-1] ** 2 * science_psf)),
        own_reference=float(np.sum(k_reference[::-1, ::-1] ** 2 * flux_ratio * reference_psf)),
    )
