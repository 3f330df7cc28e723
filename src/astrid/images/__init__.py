"""Images: read, calibrate, align, subtract, detect, measure, cut out, inject, simulate."""

from astrid.images.alignment import Alignment, align
from astrid.images.background import subtract_background
from astrid.images.cutouts import cut, triplets
from astrid.images.detection import detect
from astrid.images.differencing import DifferenceConfig, DifferenceResult, difference
from astrid.images.filling import fill_masked
from astrid.images.flux_ratio import FluxRatio, measure_flux_ratio
from astrid.images.frame import Flag, Frame
from astrid.images.kernel import FittedKernel, fit_kernel
from astrid.images.mapping import Mapping
from astrid.images.measurement import measure
from astrid.images.noise import measure_noise
from astrid.images.photometry import psf_fluxes
from astrid.images.proper import MatchedPSFs, Subtraction, subtract
from astrid.images.psf import PSF, moffat_psf
from astrid.images.psf_stack import measure_psf
from astrid.images.reading import read_frame
from astrid.images.resampling import resample
from astrid.images.simulation import SimulatedPair, simulate_pair
from astrid.images.simulation_config import SimulationConfig
from astrid.images.sources import Sources, find_sources
from astrid.images.writing import write_fits

__all__ = [
    "PSF",
    "Alignment",
    "DifferenceConfig",
    "DifferenceResult",
    "FittedKernel",
    "Flag",
    "FluxRatio",
    "Frame",
    "Mapping",
    "MatchedPSFs",
    "SimulatedPair",
    "SimulationConfig",
    "Sources",
    "Subtraction",
    "align",
    "cut",
    "detect",
    "difference",
    "fill_masked",
    "find_sources",
    "fit_kernel",
    "measure",
    "measure_flux_ratio",
    "measure_noise",
    "measure_psf",
    "moffat_psf",
    "psf_fluxes",
    "read_frame",
    "resample",
    "simulate_pair",
    "subtract",
    "subtract_background",
    "triplets",
    "write_fits",
]
