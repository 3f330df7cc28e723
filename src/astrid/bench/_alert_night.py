"""A night to take in: real packets of ZTF repeated as distinct alerts, catalogues for them, and filters.

The packets are real but for their names, times and places; the catalogues are simulated, and the filters
are of the kinds that people use.
"""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from astrid.stream.filters import Filter

__all__ = ["CATALOGS", "Night", "Template", "filters", "make_catalogs", "templates"]

CATALOGS = {"stars": 2.0, "galaxies": 30.0, "quasars": 1.5}
"""Simulated catalogues, and the radius in arcsec within which they are matched."""

_CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
_JD = 2461364.75  # the begin of the night
_STEP = 0.03  # s between two alerts: a million in a night
_NAME, _LETTERS = "ZTF26aaaaaaa", 7
_CANDID = 3_000_000_000_000_000_000  # all of them take as many bytes in Avro
_RA, _DEC = 123.456789012345, 45.678901234567
_MARKS = {"ra": struct.pack("<d", _RA), "dec": struct.pack("<d", _DEC)}


@dataclass(frozen=True, eq=False)
class Template:
    """A real packet, and where in its bytes stands what makes it another one.

    Parameters
    ----------
    content : bytes
    places : dict of str to tuple of int
        Of ``candid``, ``name``, ``jd``, ``ra`` and ``dec``.
    """

    content: bytes
    places: dict[str, tuple[int, ...]]

    def copy(self, number: int, ra: float, dec: float) -> bytes:
        """The packet as that of another alert, at another place and time of the same night."""
        changes = {
            "candid": _varint(_CANDID + number),
            "name": _name(number),
            "jd": struct.pack("<d", _JD + number * _STEP / 86400),
            "ra": struct.pack("<d", ra),
            "dec": struct.pack("<d", dec),
        }
        made = bytearray(self.content)
        for what, new in changes.items():
            for place in self.places[what]:
                made[place : place + len(new)] = new
        return bytes(made)


def templates(path: Path, *, cutouts: bool = True) -> list[Template]:
    """Every packet of an archive, with its times moved to one night.

    Parameters
    ----------
    path : Path
        Of ZTF's packets.
    cutouts : bool
        Whether they keep their images.
    """
    with tarfile.open(path) as archive:
        streams = (archive.extractfile(member) for member in archive if member.isfile())
        return [_template(stream.read(), cutouts) for stream in streams if stream is not None]


def _template(content: bytes, cutouts: bool) -> Template:
    import fastavro

    reader = fastavro.reader(io.BytesIO(content))
    (record,) = reader
    _move(record, _JD - record["candidate"]["jd"])
    record["objectId"] = _NAME
    record["candid"] = record["candidate"]["candid"] = _CANDID
    record["candidate"] |= {"jd": _JD, "ra": _RA, "dec": _DEC}
    if not cutouts:
        record |= dict.fromkeys(_CUTOUTS)
    stream = io.BytesIO()
    fastavro.writer(stream, reader.writer_schema, [record], codec="null", sync_marker=b"end of the block")
    made = stream.getvalue()
    marks = {**_MARKS, "candid": _varint(_CANDID), "name": _name(0), "jd": struct.pack("<d", _JD)}
    return Template(made, {what: tuple(_found(made, mark)) for what, mark in marks.items()})


def _move(record: dict[str, Any], days: float) -> None:
    """Times of the history as well, so that its age stays what it was."""
    for one in (*(record.get("prv_candidates") or ()), *(record.get("fp_hists") or ())):
        one["jd"] += days
    for name in ("jdstarthist", "jdendhist"):
        if record["candidate"].get(name) is not None:
            record["candidate"][name] += days


def _found(content: bytes, mark: bytes) -> Iterator[int]:
    place = content.find(mark)
    while place >= 0:
        yield place
        place = content.find(mark, place + 1)


def _varint(number: int) -> bytes:
    number <<= 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _name(number: int) -> bytes:
    letters = bytearray()
    for _ in range(_LETTERS):
        number, letter = divmod(number, 26)
        letters.append(ord("a") + letter)
    return _NAME[:-_LETTERS].encode() + bytes(reversed(letters))


class Night:
    """Distinct alerts without an end, some of them on sources of the catalogues.

    Parameters
    ----------
    packets : sequence of Template
    folder : Path
        Of `make_catalogs`.
    seed : int
    """

    def __init__(self, packets: Sequence[Template], folder: Path, seed: int = 0) -> None:
        import pyarrow.parquet as pq

        self._packets, self._seed = packets, seed
        self._tables = {
            name: pq.read_table(folder / f"{name}.parquet", columns=["ra", "dec"]) for name in CATALOGS
        }

    def contents(self, n: int, first: int = 0) -> Iterator[bytes]:
        """The packets from one number on."""
        block = 1000
        for start in range(first, first + n, block):
            numbers = range(start, min(start + block, first + n))
            for number, ra, dec in zip(numbers, *self.places(start, len(numbers)), strict=True):
                yield self._packets[number % len(self._packets)].copy(number, ra, dec)

    def places(self, start: int, n: int) -> tuple[list[float], list[float]]:
        """Half of them on stars, a quarter near galaxies, a tenth on quasars, the others anywhere."""
        rng = np.random.default_rng((self._seed, start))
        ra, dec = _anywhere(rng, n)
        kind = rng.choice([*CATALOGS, ""], size=n, p=[0.5, 0.25, 0.1, 0.15])
        for name, radius in CATALOGS.items():
            rows = np.flatnonzero(kind == name)
            table = self._tables[name].take(rng.integers(len(self._tables[name]), size=len(rows)))
            off = rng.normal(0, radius / 4 / 3600, (2, len(rows)))
            dec[rows] = np.clip(table["dec"].to_numpy() + off[1], -90, 90)
            ra[rows] = (table["ra"].to_numpy() + off[0] / np.cos(np.radians(dec[rows]))) % 360
        return ra.tolist(), dec.tolist()

    def write(self, path: Path, n: int) -> None:
        """Write a tar archive of the first n."""
        with tarfile.open(path, "w") as archive:
            for number, content in enumerate(self.contents(n)):
                member = tarfile.TarInfo(f"{_CANDID + number}.avro")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def _anywhere(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where ZTF looks: north of -30 degrees."""
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-0.5, 1, n)))


def make_catalogs(folder: Path, rows: int, seed: int = 0) -> tuple[Path, ...]:
    """Simulate and import `CATALOGS`, each of so many rows.

    Returns
    -------
    paths : tuple of Path
        Of the imported ones.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from astrid.catalogs import import_catalog

    rng = np.random.default_rng(seed)
    made = []
    for name in CATALOGS:
        ra, dec = _anywhere(rng, rows)
        columns = {"ra": ra, "dec": dec, "id": np.arange(rows), "mag": rng.uniform(12, 21, rows)}
        if name == "stars":
            columns |= {
                "pmra": rng.normal(0, 8, rows), "pmdec": rng.normal(0, 8, rows),
                "parallax": rng.exponential(1, rows), "epoch": np.full(rows, 2016.0),
            }  # fmt: skip
        else:
            columns |= {"z": rng.exponential(0.1 if name == "galaxies" else 1.5, rows)}
        source = folder / f"{name}.parquet"
        pq.write_table(pa.table(columns), source)
        import_catalog(source, name, folder=folder / "catalogs")
        made.append(folder / "catalogs" / name)
    return tuple(made)


_GOOD = "realbogus > 0.5 and image_problem is null"
_CONDITIONS = {
    "real": _GOOD,
    "both_nets": "braai_sim1 > 0.5 and braai_real1 > 0.5",
    "nets_disagree": "abs(braai_sim1 - braai_real1) > 0.5",
    "applies": "braai_sim1_applicable = '' and realbogus_decision = 'real'",
    "drb": "ztf_drb > 0.8 and ztf_nbad = 0",
    "bright": f"magpsf < 18.5 and {_GOOD}",
    "faint_new": f"magpsf > 19 and n_detections < 5 and {_GOOD}",
    "young": f"age < 3 and positive and {_GOOD}",
    "rising": f"mag_rate < -0.05 and gap < 10 and {_GOOD}",
    "fading": f"mag_rate > 0.1 and {_GOOD}",
    "blue": f"g_r < 0 and {_GOOD}",
    "red": f"g_r > 0.8 and {_GOOD}",
    "after_limit": f"last_limit_age < 4 and last_limit > magpsf + 0.3 and {_GOOD}",
    "forced": "peak_forced_snr > 5 and n_detections < 10",
    "supernova": f"galaxies_distance between 0.5 and 20 and galaxies_z < 0.1 and stars_count = 0 and {_GOOD}",
    "nuclear": f"galaxies_distance < 0.8 and {_GOOD}",
    "bright_host": "galaxies_count > 0 and galaxies_mag < 15",
    "hostless": f"isinf(galaxies_distance) and isinf(stars_distance) and {_GOOD}",
    "variable_star": "stars_distance < 1.0 and stars_mag < 17 and n_detections > 10",
    "nearby_star": "stars_distance < 1.0 and stars_parallax > 2",
    "quasar_flare": "quasars_distance < 1 and quasars_z > 0.5 and mag_rate < 0 and positive",
    "no_asteroid": f"(ztf_ssdistnr is null or ztf_ssdistnr > 5) and {_GOOD}",
    "sky_plane": f"{_GOOD}",
    "watched": "snr > 5",
    "moc": "magpsf < 20",
}  # fmt: skip


def filters(night: Night) -> list[Filter]:
    """Twenty-five: on scores, light curves, matches and survey columns, with two regions and a watch list."""
    from astrid.stream.filters import Filter
    from astrid.stream.regions import Target

    ra, dec = night.places(0, 300)
    watched = tuple(
        Target(name=f"target {k}", ra=one, dec=other, radius=3.0)
        for k, (one, other) in enumerate(zip(ra, dec, strict=True))
    )
    cells = " ".join(str(cell) for cell in range(0, 12 * 4**3, 7))
    more: dict[str, dict[str, Any]] = {
        "moc": {"region": f"3/{cells}"}, "sky_plane": {"region": "1/0-15"},
        "watched": {"watch_list": watched},
    }  # fmt: skip
    return [Filter(name=name, sql=sql, **more.get(name, {})) for name, sql in _CONDITIONS.items()]
