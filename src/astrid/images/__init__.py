"""Images: read, calibrate, align, subtract, detect, measure, cut out, inject, simulate.

Every public name of this room can be had from here; a module is loaded when one of its
names is first used, so that a command that needs little starts fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astrid.images.alignment import Alignment, align
    from astrid.images.background import subtract_background
    from astrid.images.calibration import CalibrationSummary, calibrate, calibrate_file
    from astrid.images.cutouts import cut, triplets
    from astrid.images.detection import detect
    from astrid.images.differencing import DifferenceConfig, DifferenceResult, difference
    from astrid.images.filling import fill_masked
    from astrid.images.flux_ratio import FluxRatio, measure_flux_ratio
    from astrid.images.forced import forced_photometry
    from astrid.images.frame import Flag, Frame
    from astrid.images.injection import InjectionResult, inject, injection_recovery
    from astrid.images.kernel import FittedKernel, fit_kernel
    from astrid.images.mapping import Mapping
    from astrid.images.measurement import measure
    from astrid.images.noise import measure_noise
    from astrid.images.packets import read_packets, write_packets
    from astrid.images.photometry import psf_fluxes
    from astrid.images.profiles import Profile, load_profile, profile_names
    from astrid.images.proper import MatchedPSFs, Subtraction, subtract
    from astrid.images.psf import PSF, moffat_psf
    from astrid.images.psf_stack import measure_psf
    from astrid.images.reading import read_frame
    from astrid.images.resampling import resample
    from astrid.images.simulation import SimulatedPair, simulate_pair
    from astrid.images.simulation_config import SimulationConfig
    from astrid.images.sources import Sources, find_sources
    from astrid.images.trails import Trail, find_trails
    from astrid.images.writing import write_fits

_MODULES = {
    "alignment": ("Alignment", "align"),
    "background": ("subtract_background",),
    "calibration": ("CalibrationSummary", "calibrate", "calibrate_file"),
    "cutouts": ("cut", "triplets"),
    "detection": ("detect",),
    "differencing": ("DifferenceConfig", "DifferenceResult", "difference"),
    "filling": ("fill_masked",),
    "flux_ratio": ("FluxRatio", "measure_flux_ratio"),
    "forced": ("forced_photometry",),
    "frame": ("Flag", "Frame"),
    "injection": ("InjectionResult", "inject", "injection_recovery"),
    "kernel": ("FittedKernel", "fit_kernel"),
    "mapping": ("Mapping",),
    "measurement": ("measure",),
    "noise": ("measure_noise",),
    "packets": ("read_packets", "write_packets"),
    "photometry": ("psf_fluxes",),
    "profiles": ("Profile", "load_profile", "profile_names"),
    "proper": ("MatchedPSFs", "Subtraction", "subtract"),
    "psf": ("PSF", "moffat_psf"),
    "psf_stack": ("measure_psf",),
    "reading": ("read_frame",),
    "resampling": ("resample",),
    "simulation": ("SimulatedPair", "simulate_pair"),
    "simulation_config": ("SimulationConfig",),
    "sources": ("Sources", "find_sources"),
    "trails": ("Trail", "find_trails"),
    "writing": ("write_fits",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "PSF",
    "Alignment",
    "CalibrationSummary",
    "DifferenceConfig",
    "DifferenceResult",
    "FittedKernel",
    "Flag",
    "FluxRatio",
    "Frame",
    "InjectionResult",
    "Mapping",
    "MatchedPSFs",
    "Profile",
    "SimulatedPair",
    "SimulationConfig",
    "Sources",
    "Subtraction",
    "Trail",
    "align",
    "calibrate",
    "calibrate_file",
    "cut",
    "detect",
    "difference",
    "fill_masked",
    "find_sources",
    "find_trails",
    "fit_kernel",
    "forced_photometry",
    "inject",
    "injection_recovery",
    "load_profile",
    "measure",
    "measure_flux_ratio",
    "measure_noise",
    "measure_psf",
    "moffat_psf",
    "profile_names",
    "psf_fluxes",
    "read_frame",
    "read_packets",
    "resample",
    "simulate_pair",
    "subtract",
    "subtract_background",
    "triplets",
    "write_fits",
    "write_packets",
]


def __getattr__(name: str) -> Any:
    """Load the module of a public name at its first use."""
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"astrid.images.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'astrid.images' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
