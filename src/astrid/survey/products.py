"""The files of one run, each in a format of the field and each saying what made it.

Takes a finished `DifferenceResult`; which files there are is listed in `PRODUCTS`.
Where they go is the business of `directory`, how the report looks that of `report`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid.files.record import plain, sha256
from astrid.images.frame import Flag
from astrid.images.writing import frame_header, write_fits
from astrid.survey.provenance import Provenance

if TYPE_CHECKING:
    from astropy.table import Table
    from matplotlib.figure import Figure

    from astrid.images.differencing import DifferenceResult

__all__ = ["PRODUCTS", "bytes_needed", "product_records", "write_figure", "write_products", "write_table"]

PRODUCTS = {
    "difference.fits": "the difference: a new source of flux f appears as f times the PSF, science ADU",
    "significance.fits": "S_corr: the significance of a source at each pixel, in standard deviations",
    "mask.fits": "bits that say why a pixel is not to be trusted",
    "candidates.parquet": "the candidates",
    "candidates.ecsv": "the candidates, as text",
    "triplets.npz": "cutouts of each candidate: science, reference, difference",
    "alerts.avro": "the candidates and their cutouts as alert packets",
    "report.html": "everything at a glance",
    "run.json": "the summary, and what made it",
}
"""Name of each product and what is in it."""


def bytes_needed(shape: tuple[int, int]) -> int:
    """Upper estimate of the space that the products of an image take, bytes."""
    return 10 * shape[0] * shape[1] + 20_000_000


def write_products(
    directory: Path,
    result: DifferenceResult,
    provenance: Provenance,
    summary: Mapping[str, Any],
    *,
    avro: bool = False,
) -> None:
    """Write every product of a run but the report and ``run.json``.

    Parameters
    ----------
    directory : Path
        Exists and is empty.
    result : DifferenceResult
    provenance : Provenance
    summary : mapping
        Figures of the run that the files quote.
    avro : bool
        Write ``alerts.avro`` as well.

    Raises
    ------
    OutputError, OSError
        A file cannot be written.
    PacketError
        The candidates do not fit the packet schema.
    """
    _write_images(directory, result, provenance)
    for suffix in (".parquet", ".ecsv"):
        write_table(directory / f"candidates{suffix}", result.candidates, provenance.as_dict())
    arrays: dict[str, Any] = {**result.triplets, "provenance": np.array(json.dumps(provenance.as_dict()))}
    np.savez_compressed(directory / "triplets.npz", **arrays)
    if avro:
        from astrid.images.packets import write_packets

        write_packets(
            directory / "alerts.avro",
            result.candidates,
            result.triplets,
            _facts(result, provenance, summary),
            run=provenance.identity,
            metadata={"astrid": json.dumps(provenance.as_dict())},
        )


def write_table(path: Path, table: Table, provenance: Mapping[str, Any]) -> None:
    """Write a table as Parquet or ECSV, with units, descriptions and provenance.

    Masked values are null in Parquet and blank in ECSV.

    Parameters
    ----------
    path : Path
        ``.parquet`` or ``.ecsv``.
    table : `~astropy.table.Table`
    provenance : mapping
        Plain values.
    """
    if path.suffix == ".ecsv":
        text = table.copy()
        text.meta = {"astrid": plain(provenance)}
        text.write(path, format="ascii.ecsv", overwrite=True)
    else:
        _write_parquet(path, table, provenance)


def _write_parquet(path: Path, table: Table, provenance: Mapping[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields, arrays = [], []
    for name in table.colnames:
        column = table[name]
        mask = np.ma.getmaskarray(column) if np.ma.isMaskedArray(column) else None
        values = np.ma.getdata(column)
        array = pa.array(values.tolist() if values.dtype.kind in "OU" else _native(values), mask=mask)
        facts = {"unit": str(column.unit or ""), "description": str(column.description or "")}
        fields.append(pa.field(name, array.type, metadata={key: text for key, text in facts.items() if text}))
        arrays.append(array)
    metadata = {"astrid": json.dumps(plain(provenance))}
    rows = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata))
    pq.write_table(rows, path)


def write_figure(path: Path, figure: Figure, provenance: Mapping[str, Any]) -> None:
    """Write a matplotlib figure as PNG, with provenance in its text.

    Parameters
    ----------
    path : Path
    figure : `~matplotlib.figure.Figure`
    provenance : mapping
        Plain values.
    """
    figure.savefig(path, format="png", dpi=150, metadata={"Description": json.dumps(plain(provenance))})


def product_records(directory: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of each product that lies in `directory`."""
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(directory.iterdir())
        if path.name in PRODUCTS
    }


def _write_images(directory: Path, result: DifferenceResult, provenance: Provenance) -> None:
    facts = {
        **frame_header(result.science),
        "METHOD": (result.method, "how the difference was formed"),
        "FLUXRAT": (result.flux_ratio, "flux of a star, reference over science"),
        "REGRMS": (result.registration_rms_px, "[px] residual of the registration"),
        "SIGSCORR": (result.significance_sigma, "robust sigma of S_corr, 1 is right"),
        "LIMMAG": (result.limiting_mag_5sigma, "[mag] 5 sigma, median over the image"),
        "LIMFLUX": (result.limiting_flux_5sigma, "[ADU] 5 sigma, median over the image"),
        **provenance.header(),
    }
    bits = {
        f"BIT{flag.bit_length() - 1}": (flag.name, f"meaning of mask value {flag.value}") for flag in Flag
    }
    planes: tuple[tuple[str, NDArray[Any], dict[str, Any]], ...] = (
        ("difference", result.difference, {"BUNIT": ("adu", PRODUCTS["difference.fits"][:40])}),
        ("significance", result.significance, {"BUNIT": ("", "standard deviations")}),
        ("mask", result.mask, bits),
    )
    for name, plane, cards in planes:
        write_fits(
            directory / f"{name}.fits",
            plane,
            wcs=result.science.wcs,
            header={**cards, **facts},
            history=provenance.history(),
        )


def _facts(
    result: DifferenceResult, provenance: Provenance, summary: Mapping[str, Any]
) -> dict[str, float | str | None]:
    """What all packets of a run share."""
    science = result.science
    return {
        "mjd": science.mjd,
        "exposure": science.exposure,
        "filter": science.filter,
        "telescope": science.telescope,
        "instrument": science.instrument,
        "zero_point": science.zero_point,
        "limiting_mag": summary["limiting_mag_5sigma"],
        "limiting_flux": summary["limiting_flux_5sigma"],
        "method": result.method,
        "flux_ratio": result.flux_ratio,
        "registration_rms_px": result.registration_rms_px,
        "science_name": science.name,
        "reference_name": result.reference.name,
        "model": summary["model"],
        "model_hash": summary["model_hash"],
        **{f"{role}_sha256": record["sha256"] for role, record in provenance.inputs.items()},
    }


def _native(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(values.dtype.newbyteorder("="), copy=False)
