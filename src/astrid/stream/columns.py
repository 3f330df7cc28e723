"""The columns of a candidate row: all that was known of an alert when it arrived, each with its meaning.

Rows are made once, before filters see them, and kept; nothing here asks a model or a catalogue, whose
answers are given to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from astrid.alerts import Alert, Layout, layouts
from astrid.alerts.tables import alert_schema
from astrid.alerts.tables import to_table as alerts_table
from astrid.catalogs.search import healpix29
from astrid.errors import StreamError
from astrid.stream.summaries import summarise

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Column", "Columns", "Described", "night_of"]

Kind = Literal["float64", "int64", "bool", "string", "timestamp", "history"]

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_UNIX_MJD = 40587.0  # MJD of 1970-01-01
_DAY = 86400.0  # s


@dataclass(frozen=True)
class Column:
    """One column and what it means.

    Parameters
    ----------
    name : str
    type : str
        ``float64``, ``int64``, ``bool``, ``string``, ``timestamp`` (UTC) or ``history``.
    unit : str
    meaning : str
    low, high : float, optional
        What its values can be; a filter that asks for others is refused.
    """

    name: str
    type: Kind
    unit: str = ""
    meaning: str = ""
    low: float | None = None
    high: float | None = None

    @property
    def arrow(self) -> pa.Field:
        """The column of a table; its metadata hold all that is known of it."""
        import pyarrow as pa

        facts = {"type": self.type, "unit": self.unit, "meaning": self.meaning}
        facts |= {
            name: repr(value) for name, value in (("low", self.low), ("high", self.high)) if value is not None
        }
        return pa.field(self.name, _arrow_type(self.type), metadata=facts)

    @classmethod
    def of(cls, field: pa.Field) -> Column | None:
        """The column that a table's field is; None of a type that rows do not have."""
        facts = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        kind = next((name for name in _TYPES if field.type == _arrow_type(name)), None)
        if kind is None:
            return None
        low, high = (float(facts[name]) if name in facts else None for name in ("low", "high"))
        return cls(field.name, kind, facts.get("unit", ""), facts.get("meaning", ""), low, high)


_TYPES: tuple[Kind, ...] = ("float64", "int64", "bool", "string", "timestamp", "history")


def _arrow_type(kind: Kind) -> Any:
    import pyarrow as pa

    if kind == "history":
        return alert_schema().field("history").type
    return pa.timestamp("us", "UTC") if kind == "timestamp" else pa.type_for_alias(kind)


_C = Column
_PACKET = (
    _C("survey", "string", "", "name of the survey: ztf, lsst, …"),
    _C("alert_id", "string", "", "the survey's number of the alert"),
    _C("object_id", "string", "", "the survey's name of the object"),
    _C("version", "string", "", "of the packet's schema"),
    _C("night", "string", "", "date of the evening at the site, YYYY-MM-DD"),
    _C("ra", "float64", "deg", "right ascension", 0, 360),
    _C("dec", "float64", "deg", "declination", -90, 90),
    _C("healpix", "int64", "", "HEALPix cell, nested, order 29", 0),
    _C("time_scale", "string", "", "of all times: utc, tai"),
    _C("mjd", "float64", "d", "time of the detection", 10_000, 200_000),
    _C("band", "string", "", "filter of the telescope"),
    _C("flux", "float64", "nJy", "of the difference, with its sign"),
    _C("flux_err", "float64", "nJy", "its error", 0),
    _C("magpsf", "float64", "mag(AB)", "magnitude of the absolute flux", -50, 100),
    _C("sigmapsf", "float64", "mag", "its error", 0),
    _C("limiting_mag", "float64", "mag(AB)", "5 sigma limit of the image", -50, 100),
    _C("positive", "bool", "", "brighter than in the reference"),
    _C("snr", "float64", "", "absolute flux over its error", 0),
    _C("x", "float64", "px", "column on the chip, from 0"),
    _C("y", "float64", "px", "row on the chip, from 0"),
    _C("image_problem", "string", "", "why there is no full set of cutouts; null where there is"),
    _C("history", "history", "", "earlier and forced measurements of the packet"),
    _C("extras", "string", "", "everything else in the packet, as JSON"),
    _C("arrived", "timestamp", "", "when the alert reached us"),
)
_SUMMARIES = (
    _C("n_detections", "int64", "", "earlier detections in the packet's history", 0),
    _C("n_negative", "int64", "", "of these, fainter than in the reference", 0),
    _C("n_bands", "int64", "", "bands of the earlier detections", 0),
    _C("first_mjd", "float64", "d", "time of the first detection, this one if there is none before"),
    _C("age", "float64", "d", "since then; 0 of a first detection", 0),
    _C("gap", "float64", "d", "since the last detection in any band", 0),
    _C("mjd_before", "float64", "d", "time of the last detection in the band"),
    _C("magpsf_before", "float64", "mag(AB)", "its magnitude", -50, 100),
    _C("mag_rate", "float64", "mag/d", "change since then, negative while it brightens"),
    _C("peak_magpsf", "float64", "mag(AB)", "brightest earlier in the band and of the same sign", -50, 100),
    _C("g_r", "float64", "mag", "last g minus last r within a day, of a source that has brightened"),
    _C("last_limit", "float64", "mag(AB)", "limit of the last visit without a detection, in any band"),
    _C("last_limit_age", "float64", "d", "time since that visit", 0),
    _C("peak_forced_snr", "float64", "", "most significant earlier forced flux"),
)


class Described(Protocol):
    """A column that a scorer or a crossmatch adds to the rows; ``low`` and ``high`` may be there too."""

    @property
    def name(self) -> str:
        """Of the column."""

    @property
    def type(self) -> Any:
        """A `Column`'s, or Arrow's."""

    @property
    def unit(self) -> str:
        """Empty where there is none."""

    @property
    def meaning(self) -> str:
        """In a few words."""


def _column(one: Described) -> Column:
    import pyarrow as pa
    import pyarrow.types as kinds

    if isinstance(one, Column):
        return one
    kind = one.type if isinstance(one.type, pa.DataType) else _arrow_type(one.type)
    of: tuple[tuple[Callable[[Any], bool], Kind], ...] = (
        (kinds.is_integer, "int64"), (kinds.is_floating, "float64"), (kinds.is_boolean, "bool"),
        (kinds.is_string, "string"), (kinds.is_large_string, "string"), (kinds.is_timestamp, "timestamp"),
    )  # fmt: skip
    name: Kind | None = next((name for fits, name in of if fits(kind)), None)
    if name is None:
        raise StreamError(f"the column {one.name} is {kind}, expected numbers, text or times; leave it out")
    low, high = getattr(one, "low", None), getattr(one, "high", None)
    return Column(one.name, name, one.unit, one.meaning, low, high)


class Columns:
    """The columns of candidate rows: of the packet, its history, the survey, the scores and the matches.

    Parameters
    ----------
    added : iterable of Column or Described
        Of the bundles and catalogues in use: what `Scorer` and `Crossmatch` call their columns.
    own : tuple of Layout
        Of surveys that AstrID does not know.

    Raises
    ------
    StreamError
        Two columns have one name, or a type that rows do not have.
    """

    def __init__(self, added: Iterable[Described] = (), own: tuple[Layout, ...] = ()) -> None:
        named = {one.name: one for one in (*layouts(), *own)}  # one's own comes before ours
        self._layouts = named
        surveys = [
            Column(
                f"{survey}_{name}".lower(), one.type, one.unit, f"{survey}: {one.meaning}", one.low, one.high
            )
            for survey, layout in named.items()
            for name, one in layout.fields.items()
        ]
        columns = [*_PACKET, *_SUMMARIES, *surveys, *map(_column, added)]
        self._columns = {one.name: one for one in columns}
        if len(self._columns) != len(columns):
            names = [one.name for one in columns]
            twice = next(name for name in names if names.count(name) > 1)
            raise StreamError(
                f"two columns are called {twice}; give one of the bundles or catalogues another name"
            )

    @classmethod
    def of(cls, *schemas: pa.Schema) -> Columns:
        """Those that stored tables have, beside those of every packet."""
        columns = cls()
        known = dict(columns._columns)
        for schema in schemas:
            for field in schema:
                one = Column.of(field)
                if one is not None and one.name not in known:
                    known[one.name] = one
        columns._columns = known
        return columns

    def __iter__(self) -> Iterator[Column]:
        return iter(self._columns.values())

    def __len__(self) -> int:
        return len(self._columns)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of the table."""
        return tuple(self._columns)

    @cached_property
    def schema(self) -> pa.Schema:
        """Of the table; the metadata of the fields are the documentation of the columns."""
        import pyarrow as pa

        return pa.schema([one.arrow for one in self])

    def to_table(
        self,
        alerts: Sequence[Alert],
        scores: Mapping[str, pa.Array] | None = None,
        matches: Mapping[str, pa.Array] | None = None,
        *,
        arrived: float,
    ) -> pa.Table:
        """The candidate rows of a batch.

        Parameters
        ----------
        alerts : sequence of Alert
        scores, matches : mapping of str to pyarrow.Array, optional
            The added columns, a value for each alert; those not given are null.
        arrived : float, s
            Since 1970, UTC.

        Returns
        -------
        table : pyarrow.Table
            `schema`; no number in it is NaN.

        Raises
        ------
        StreamError
            A score or match is of no column, of another type, or not one for each alert.
        """
        import pyarrow as pa

        n = len(alerts)
        base = alerts_table(alerts)
        given: dict[str, Any] = {name: base[name] for name in base.column_names}
        given |= _derived(base, alerts, self._layouts, arrived)
        given |= {name: _known(values) for name, values in summarise(base).items()}
        given |= self._survey_fields(alerts)
        for name, values in {**(scores or {}), **(matches or {})}.items():
            if name not in self or len(values) != n:
                raise StreamError(
                    f"{len(values)} values of {name} were given for {n} alerts; expected a column of the"
                    " configuration with a value for each"
                )
            given[name] = _without_nan(values)
        arrays = []
        for field in self.schema:
            values = given.get(field.name)
            if values is None:
                values = pa.nulls(n, field.type)
            elif values.type != field.type:
                values = _cast(values, field)
            arrays.append(values)
        return pa.table(arrays, schema=self.schema)

    def _survey_fields(self, alerts: Sequence[Alert]) -> dict[str, pa.Array]:
        """The surveys' own fields, for the surveys that are among the alerts."""
        rows: dict[str, list[int]] = {}
        for row, alert in enumerate(alerts):
            rows.setdefault(alert.survey, []).append(row)
        found: dict[str, pa.Array] = {}
        for survey, places in rows.items():
            layout = self._layouts.get(survey)
            if layout is None:
                continue
            absent = layout.missing if layout.missing_numbers else ()
            records: dict[str, list[Any]] = {}
            for name, one in layout.fields.items():
                where, _, last = (one.path or f"{layout.detection}.{name}").rpartition(".")
                if where not in records:
                    records[where] = [_record(alerts[row].extras, where) for row in places]
                values: list[Any] = [None] * len(alerts)
                for row, record in zip(places, records[where], strict=True):
                    values[row] = record.get(last)
                found[f"{survey}_{name}".lower()] = _array(values, one.type, absent)
        return found


def night_of(mjd: float, longitude: float) -> str:
    """Date of the evening, YYYY-MM-DD: from one noon of the mean Sun at the site to the next.

    Parameters
    ----------
    mjd : float, days
    longitude : float, deg
        Of the site, to the east.
    """
    return (_MJD_EPOCH + timedelta(days=np.floor(mjd + longitude / 360 - 0.5))).date().isoformat()


def _derived(
    base: pa.Table, alerts: Sequence[Alert], known: Mapping[str, Layout], arrived: float
) -> dict[str, pa.Array]:
    import pyarrow as pa

    received = arrived / _DAY + _UNIX_MJD
    nights: dict[tuple[str, float], str] = {}
    night = []
    for alert in alerts:
        # of an alert without a time we know when it came
        mjd = received if alert.mjd is None else alert.mjd
        layout = known.get(alert.survey)
        key = (alert.survey, float(np.floor(mjd + (layout.longitude if layout else 0.0) / 360 - 0.5)))
        if key not in nights:
            nights[key] = night_of(key[1] + 0.5, 0.0)
        night.append(nights[key])
    flux, error = (base[name].to_numpy() for name in ("flux", "flux_err"))
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = np.where(error > 0, np.abs(flux) / error, np.nan)
    moment = pa.scalar(round(arrived * 1e6), pa.int64()).cast(pa.timestamp("us", "UTC"))
    return {
        "night": pa.array(night, pa.string()),
        "snr": _known(snr),
        "healpix": _healpix(base["ra"].to_numpy(), base["dec"].to_numpy()),
        "arrived": pa.repeat(moment, len(alerts)),
    }


def _healpix(ra: Any, dec: Any) -> pa.Array:
    import pyarrow as pa

    cells = np.zeros(len(ra), np.int64)
    good = np.isfinite(ra) & np.isfinite(dec)
    if good.any():
        cells[good] = healpix29(ra[good], dec[good])
    return pa.array(cells, mask=~good)


def _known(values: Any) -> pa.Array:
    """A float array whose NaN are null."""
    import pyarrow as pa

    return pa.array(values, pa.float64(), mask=np.isnan(values))


def _without_nan(values: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if not pa.types.is_floating(values.type):
        return values
    return pc.if_else(pc.is_nan(values), None, values)


def _cast(values: Any, field: pa.Field) -> Any:
    import pyarrow as pa

    try:
        return values.cast(field.type)
    except pa.ArrowException as error:
        raise StreamError(
            f"the values of {field.name} are {values.type}, expected {field.type}; check what made them"
        ) from error


def _record(extras: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    record: Any = extras
    for name in where.split(".") if where else ():
        record = record.get(name) if isinstance(record, Mapping) else None
    return record if isinstance(record, Mapping) else {}


def _array(values: list[Any], kind: str, absent: tuple[float, ...]) -> pa.Array:
    """Values of packets; what is not of the type is null, and stays in the extras as it came."""
    import pyarrow as pa

    if kind == "string":
        return pa.array([one if isinstance(one, str) else None for one in values], pa.string())
    if kind == "bool":
        return pa.array([one if isinstance(one, bool) else None for one in values], pa.bool_())
    kinds = (int,) if kind == "int64" else (int, float)
    numbers = [
        one if isinstance(one, kinds) and not isinstance(one, bool) and one not in absent else None
        for one in values
    ]
    if kind == "int64":
        return pa.array([one if one is None or abs(one) < 1 << 63 else None for one in numbers], pa.int64())
    return _known(np.where(np.isfinite(found := np.array(numbers, np.float64)), found, np.nan))
