"""Classifying what is sent: packets, cutouts, a pair of images, light curves; many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from fastapi.responses import Response
from pydantic import BaseModel

from astrid.service.access import Viewer
from astrid.service.decoding import fits_of
from astrid.service.errors import Problem, responses
from astrid.service.judging import (
    answer,
    chosen_models,
    curve_models,
    judge_curves,
    judge_packets,
    judge_pair,
    judge_triplets,
)
from astrid.service.paging import JSON, json_bytes
from astrid.service.state import StateOf
from astrid.service.work import apart, in_thread
from astrid.survey.curve_inputs import CurveInputs

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/classify", tags=["classify"])

_REFUSALS = responses(400, 401, 403, 404, 413, 422, 503, 504)

ModelNames = Annotated[
    list[str] | None,
    Query(
        alias="model", description="Name of a model; may be repeated. By default the live one.", max_length=8
    ),
]
Dropout = Annotated[
    bool, Query(description="Also the spread over passes with dropout, for ten times the cost of a score.")
]


class Said(BaseModel):
    """What one head of a model says."""

    values: dict[str, float]
    spread: dict[str, float] | None
    decision: str | None
    set: str | None


class Score(BaseModel):
    """What a model says of one item."""

    heads: dict[str, Said]
    applicable: str


class Item(BaseModel):
    """One item: what each model says of it, or why nothing is said."""

    name: str
    problem: str | None = None
    scores: dict[str, Score] = {}


class AlertItem(Item):
    """One packet."""

    survey: str | None = None
    alert_id: str | None = None
    object_id: str | None = None


class CandidateItem(Item):
    """One candidate of a pair of images."""

    x: float
    y: float
    ra: float | None
    dec: float | None
    flux: float
    snr: float


class CurveItem(Item):
    """One light curve."""

    n_points: int | None = None
    period: float | None = None
    warnings: str | None = None
    transits: list[dict[str, Any]] | None = None


class Items(BaseModel):
    """What was sent, item by item, and with which models it was judged."""

    models: dict[str, str]
    items: list[Item]


class AlertItems(Items):
    """Packets."""

    items: list[AlertItem]  # type: ignore[assignment]


class CurveItems(Items):
    """Light curves."""

    items: list[CurveItem]  # type: ignore[assignment]


class PairItems(Items):
    """Candidates of a pair of images, and what was found on the way."""

    items: list[CandidateItem]  # type: ignore[assignment]
    n_candidates: int
    method: str
    registration_rms_px: float
    limiting_mag_5sigma: float | None
    warnings: list[str]


def _body(description: str, *kinds: str) -> dict[str, Any]:
    """What the description says of a body that is read as bytes."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
    return {"requestBody": {"required": True, "description": description, "content": content}}


@router.post(
    "/packets",
    response_model=AlertItems,
    responses=_REFUSALS,
    openapi_extra=_body(
        "Avro file of one alert packet or of many.", "application/octet-stream", "avro/binary"
    ),
)
async def packets(
    request: Request, state: StateOf, user: Viewer, model: ModelNames = None, dropout: Dropout = False
) -> Response:
    """Classify alert packets: one, or an Avro file of up to 1,024.

    A packet that cannot be used has its reason in ``problem``, and the others are classified.
    """
    content = await request.body()
    if not content:
        raise Problem(422, "the body is empty; send an Avro file of alert packets")
    return _json(await in_thread(state, judge_packets, state, content, model, dropout, lane="models"))


@router.post(
    "/triplets",
    response_model=Items,
    responses=_REFUSALS,
    openapi_extra=_body(
        "npz of `triplet` (n, size, size, 3), or of `science`, `reference` and `difference`.",
        "application/octet-stream",
        "application/x-npz",
    ),
)
async def triplets(
    request: Request, state: StateOf, user: Viewer, model: ModelNames = None, dropout: Dropout = False
) -> Response:
    """Classify cutouts that are in AstrID's form already, as ``triplets.npz`` of a run has them.

    Sky subtracted, missing pixels 0, the difference science minus reference; channels last.
    """
    content = await request.body()
    return _json(await in_thread(state, judge_triplets, state, content, model, dropout, lane="models"))


@router.post("/pair", response_model=PairItems, responses=_REFUSALS)
async def pair(
    state: StateOf,
    user: Viewer,
    science: Annotated[UploadFile, File(description="FITS image of the night.")],
    reference: Annotated[UploadFile, File(description="FITS image of before.")],
    model: ModelNames = None,
    gain: Annotated[float | None, Form(description="e-/ADU, where a header has none.", gt=0, le=1e6)] = None,
    threshold: Annotated[
        float, Form(description="Of a detection, in standard deviations.", ge=3, le=100)
    ] = 5.0,
) -> Response:
    """Difference two FITS images and classify what has changed; takes a minute for a large pair.

    One pair is worked on at a time, and two wait. At most 500 candidates are told, the surest first.
    """
    files = [
        (await one.read(), role) for one, role in ((science, "science image"), (reference, "reference image"))
    ]
    chosen = (await in_thread(state, chosen_models, state, model, lane="models"))[1]
    plain = [await in_thread(state, fits_of, *file, lane="models") for file in files]
    names = [str(one.bundle.path) for one in chosen]
    found = await apart(state, judge_pair, plain[0], plain[1], names, gain, threshold)
    found["models"] = {one.name: one.bundle.hash for one in chosen}
    return _json(found)


_KINDS = {
    "text/csv": "csv", "application/json": "json", "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
}  # fmt: skip


@router.post(
    "/lightcurves",
    response_model=CurveItems,
    responses=_REFUSALS | responses(415),
    openapi_extra=_body(
        "A table of points, of one source or of many. JSON: an object of columns, or a list of points.",
        "text/csv",
        "application/json",
        "application/vnd.apache.parquet",
    ),
)
async def lightcurves(
    request: Request,
    state: StateOf,
    user: Viewer,
    model: ModelNames = None,
    column: Annotated[
        list[str] | None,
        Query(
            description="Which column is what, as in mag=psfmag: "
            "of time, mag, flux, error, band, quality, source, ra, dec.",
            max_length=9,
        ),
    ] = None,
    unit: Annotated[Literal["mag", "nJy", "mJy", "e-/s", "flux"] | None, Query()] = None,
    time_format: Annotated[str | None, Query(max_length=20, description="mjd, jd, hjd, …")] = None,
    time_scale: Annotated[str | None, Query(max_length=20, description="utc, tai, tdb, …")] = None,
    tmag: Annotated[float | None, Query(description="Of the star, for transits: TESS mag.")] = None,
    teff: Annotated[float | None, Query(description="K")] = None,
    logg: Annotated[float | None, Query(description="dex")] = None,
    radius: Annotated[float | None, Query(description="Of the Sun.")] = None,
    mass: Annotated[float | None, Query(description="Of the Sun.")] = None,
) -> Response:
    """Classify light curves: variable stars by dm-dt images or features, or the dips of planets.

    Without a model those in use that need no search for a period. With one that does, at most 20 light
    curves are taken at a time, and with one of transits 4.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in _KINDS:
        raise Problem(415, f"the content type is {given[:40]!r}; send one of {', '.join(_KINDS)}")
    columns = _mapping(column)
    options = {"columns": columns, "unit": unit, "time_format": time_format, "time_scale": time_scale}
    content = await request.body()
    star = {"tmag": tmag, "teff": teff, "logg": logg, "radius": radius, "mass": mass}
    _, chosen = await in_thread(state, curve_models, state, model, lane="models")
    task = (content, _KINDS[given], options, [str(one.bundle.path) for one in chosen], star)
    searched = [one for one in chosen if one.kind == "transits" or CurveInputs(one.bundle).needs_period]
    items = await (
        apart(state, judge_curves, *task)
        if searched
        else in_thread(state, judge_curves, *task, lane="models")
    )
    return _json(answer(chosen, items))


def _mapping(given: Sequence[str] | None) -> dict[str, str] | None:
    if not given:
        return None
    pairs = [one.partition("=") for one in given]
    wrong = next((part for part, equals, name in pairs if not (part and equals and name)), None)
    if wrong is not None:
        raise Problem(422, f"column {wrong[:40]!r} names nothing; write it as mag=psfmag")
    return {part: name for part, _, name in pairs}


@router.post("/spectra", status_code=501, response_model=None, responses=responses(401, 403, 501))
async def spectra(user: Viewer) -> Response:
    """Spectra cannot be classified yet: there is no model of them."""
    raise Problem(501, "there is no model of spectra yet; classify packets, triplets, pairs or light curves")


def _json(value: Any) -> Response:
    return Response(json_bytes(value), media_type=JSON)
