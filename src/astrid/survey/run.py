"""One run: two FITS files in, a directory of products out.

Reads, differences, writes and summarises; the science is in `astrid.images`, and
many pairs at once are the business of `pairs`.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid.files.directory import check_space, product_directory
from astrid.files.record import plain
from astrid.survey.explanations import EXPLANATIONS
from astrid.survey.products import PRODUCTS, bytes_needed, product_records, write_products
from astrid.survey.provenance import FrameFile, Provenance
from astrid.survey.scoring import LIVE, choose_model, scored

if TYPE_CHECKING:
    from astropy.table import Table

    from astrid.images.differencing import DifferenceConfig, DifferenceResult
    from astrid.learn.bundle import Bundle

__all__ = ["RunSummary", "difference_files", "finished", "peak_memory_mb"]


@dataclass(frozen=True)
class RunSummary:
    """The figures of one run, as ``--json`` prints them and ``run.json`` keeps them.

    Parameters
    ----------
    out : str
        The directory with the products.
    method, method_reason : str
        How the difference was formed, and why so.
    n_candidates, n_unflagged : int
    model, model_hash : str or None
        The bundle that scored the candidates, and its identity; None where they are not scored.
    n_real : int or None
        Candidates on the real side of its threshold.
    registration_rms_px : float, px
    registration_method : str
    n_stars : int
        Stars that the PSFs, the flux ratio and the registration were measured on.
    flux_ratio, flux_ratio_err : float
        Flux of a star in the reference over its flux in the science frame.
    significance_sigma : float
        Robust width of S_corr in source-free pixels; 1 is right.
    limiting_mag_5sigma : float or None, mag
        None without a zero point.
    limiting_flux_5sigma : float, ADU
    fwhm_science, fwhm_reference : float, px
    seconds, cpu_seconds : float, s
    peak_memory_mb : float or None, MB
        Of the process until now; None where the system does not tell.
    warnings : tuple of str
        What was wrong with the input, one sentence each.
    """

    out: str
    method: str
    method_reason: str
    n_candidates: int
    n_unflagged: int
    model: str | None
    model_hash: str | None
    n_real: int | None
    registration_rms_px: float
    registration_method: str
    n_stars: int
    flux_ratio: float
    flux_ratio_err: float
    significance_sigma: float
    limiting_mag_5sigma: float | None
    limiting_flux_5sigma: float
    fwhm_science: float
    fwhm_reference: float
    seconds: float
    cpu_seconds: float
    peak_memory_mb: float | None
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain values; a number that is not finite is None."""
        figures: dict[str, Any] = plain(asdict(self))
        return figures


def difference_files(
    science: FrameFile | str | Path,
    reference: FrameFile | str | Path,
    out: str | Path,
    *,
    config: DifferenceConfig | None = None,
    model: Bundle | str | Path | None = LIVE,
    avro: bool = False,
    overwrite: bool = False,
    command: str | None = None,
    truth: Table | None = None,
    beside: Collection[str] = (),
    on_stage: Callable[[str], None] | None = None,
) -> tuple[RunSummary, DifferenceResult]:
    """Difference two FITS files and write all products into a directory.

    Either all products appear in `out` or none; see `product_directory`.

    Parameters
    ----------
    science, reference : FrameFile, str or Path
    out : str or Path
        Directory; made if it does not exist.
    config : DifferenceConfig, optional
    model : Bundle, str, Path or None
        What scores the candidates: a bundle, its name or path, the live one of ``braai``
        (``"live"``), or nothing.
    avro : bool
        Write ``alerts.avro`` as well.
    overwrite : bool
        Write into a directory that holds other files too.
    command : str, optional
        What the products say they were made by.
    truth : `~astropy.table.Table`, optional
        What was put into a simulated pair (columns ``x``, ``y``), to be marked in the report.
    beside : collection of str
        Names of other files that may be in `out`.
    on_stage : callable, optional
        Told the name of each stage as it begins.

    Returns
    -------
    summary : RunSummary
    result : DifferenceResult

    Raises
    ------
    OutputError
        The products cannot be written.
    DataError
        The files cannot be read or differenced.
    """
    from astrid.images.differencing import DifferenceConfig, difference
    from astrid.survey.report import write_report

    tell = on_stage or (lambda stage: None)
    config = config or DifferenceConfig()
    files = {"science": _file(science), "reference": _file(reference)}
    started, cpu_started = time.perf_counter(), time.process_time()
    beside = (EXPLANATIONS, *beside)
    with product_directory(out, names=PRODUCTS, beside=beside, overwrite=overwrite) as staging:
        tell("reading")
        bundle, unscored = choose_model(model, config.cutout_size)
        provenance = pair_provenance(
            files["science"], files["reference"], config, bundle=bundle, avro=avro, command=command
        )
        frames = {role: file.read() for role, file in files.items()}
        check_space(staging, bytes_needed(frames["science"].shape), out)

        result = difference(frames["science"], frames["reference"], config, on_stage=on_stage)
        if unscored:
            result = replace(result, warnings=(*result.warnings, unscored))
        if bundle is not None:
            tell("score")
            score_started = time.perf_counter()
            result = scored(result, bundle)
            result.stage_seconds["score"] = time.perf_counter() - score_started

        tell("writing the products")
        summary = _summary(result, bundle, out, started, cpu_started)
        write_products(staging, result, provenance, summary.as_dict(), avro=avro)
        write_report(staging / "report.html", result, provenance, summary.as_dict(), truth=truth)
        summary = _summary(result, bundle, out, started, cpu_started)
        document = {
            **summary.as_dict(),
            "stage_seconds": plain(result.stage_seconds),
            "provenance": provenance.as_dict(),
            "identity": provenance.identity,
            "products": product_records(staging),
        }
        (staging / "run.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", "utf-8")
    shutil.rmtree(Path(out) / EXPLANATIONS, ignore_errors=True)  # they are of the run that was here before
    return summary, result


def pair_provenance(
    science: FrameFile,
    reference: FrameFile,
    config: DifferenceConfig,
    *,
    bundle: Bundle | None,
    avro: bool,
    command: str | None,
) -> Provenance:
    """What will make the products of a pair; reads the files to hash them."""
    model = None if bundle is None else f"{bundle.name} {bundle.hash}"
    return Provenance(
        command=command or "astrid.survey.difference_files",
        inputs={"science": science.record(), "reference": reference.record()},
        configuration={**asdict(config), "model": model, "avro": avro},
    )


def finished(directory: Path, provenance: Provenance) -> dict[str, Any] | None:
    """The contents of a run's ``run.json`` if it is complete and was made by the same thing.

    Parameters
    ----------
    directory : Path
    provenance : Provenance
        What would make the products now.

    Returns
    -------
    dict or None
        None if there is no such run, a product is missing or of another size, or the
        inputs, the configuration or the version differ.
    """
    try:
        document = json.loads((directory / "run.json").read_text("utf-8"))
        same = document["identity"] == provenance.identity and all(
            (directory / name).stat().st_size == product["bytes"]
            for name, product in document["products"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return document if same else None


def peak_memory_mb() -> float | None:
    """Most memory that this process has held, MB (10^6 bytes); None where the system does not tell."""
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6  # bytes there, kB here


def _file(given: FrameFile | str | Path) -> FrameFile:
    return given if isinstance(given, FrameFile) else FrameFile(Path(given))


def _summary(
    result: DifferenceResult, bundle: Bundle | None, out: str | Path, started: float, cpu_started: float
) -> RunSummary:
    shared: Mapping[str, Any] = {
        name: getattr(result, name) for name in RunSummary.__dataclass_fields__ if hasattr(result, name)
    }
    flags = result.candidates["flags"]
    return RunSummary(
        **shared,
        out=str(out),
        n_candidates=len(flags),
        n_unflagged=sum(1 for flag in flags if not str(flag)),
        model=None if bundle is None else bundle.name,
        model_hash=None if bundle is None else bundle.hash,
        n_real=None if bundle is None else int(np.sum(result.candidates["real_decision"] == "real")),
        seconds=round(time.perf_counter() - started, 3),
        cpu_seconds=round(time.process_time() - cpu_started, 3),
        peak_memory_mb=peak_memory_mb(),
    )
