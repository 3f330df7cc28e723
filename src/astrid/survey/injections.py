"""Injection and recovery from files: how deep a pair really goes, with table and figure.

Reads, calls `injection_recovery` and writes; the experiment is in `astrid.images`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astrid.files.directory import product_directory
from astrid.files.record import plain
from astrid.survey.products import write_figure, write_table
from astrid.survey.provenance import FrameFile, Provenance

if TYPE_CHECKING:
    from astrid.images.differencing import DifferenceConfig

__all__ = ["inject_files"]

_PRODUCTS = ("injections.parquet", "injections.ecsv", "completeness.png", "run.json")


def inject_files(
    science: FrameFile,
    reference: FrameFile,
    out: str | Path,
    *,
    magnitudes: tuple[float, float] | None = None,
    n: int = 200,
    hosted: float = 0.0,
    bins: int = 10,
    seed: int = 0,
    config: DifferenceConfig | None = None,
    overwrite: bool = False,
    command: str | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Inject transients into a pair of files, difference them, and write what came back.

    Parameters
    ----------
    science, reference : FrameFile
    out : str or Path
        Directory; gets ``injections.parquet``, ``injections.ecsv``, ``completeness.png``, ``run.json``.
    magnitudes, n, hosted, bins, seed
        As for `injection_recovery`.
    config : DifferenceConfig, optional
    overwrite : bool
        Write into a directory that holds other files too.
    command : str, optional
        What the products say they were made by.
    on_stage : callable, optional
        Told what is being done.

    Returns
    -------
    summary : dict
        `InjectionResult.summary` and ``out``, as plain values.

    Raises
    ------
    OutputError, UsageError, DataError
    """
    from astrid.images.completeness import plot_injections
    from astrid.images.differencing import DifferenceConfig
    from astrid.images.injection import injection_recovery

    config = config or DifferenceConfig()
    with product_directory(out, names=_PRODUCTS, overwrite=overwrite) as staging:
        settings = {"magnitudes": magnitudes, "n": n, "hosted": hosted, "bins": bins, "seed": seed}
        provenance = Provenance(
            command=command or "astrid.survey.inject_files",
            inputs={"science": science.record(), "reference": reference.record()},
            configuration={**settings, **asdict(config)},
        )
        result = injection_recovery(
            science.read(),
            reference.read(),
            magnitudes=magnitudes,
            n=n,
            hosted=hosted,
            bins=bins,
            seed=seed,
            config=config,
            on_stage=on_stage,
        )
        summary: dict[str, Any] = {"out": str(out), **plain(result.summary())}
        for suffix in (".parquet", ".ecsv"):
            write_table(staging / f"injections{suffix}", result.injections, provenance.as_dict())
        write_figure(staging / "completeness.png", plot_injections(result), provenance.as_dict())
        document = {**summary, "provenance": provenance.as_dict()}
        (staging / "run.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", "utf-8")
    return summary
