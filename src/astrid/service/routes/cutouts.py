"""Cutouts of a candidate: as a picture for people, and as FITS with the numbers that the survey sent."""

from __future__ import annotations

import io
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from numpy.typing import NDArray

from astrid.alerts import Alert
from astrid.alerts.stamps import good_pixels
from astrid.errors import PacketError
from astrid.pages.pictures import asinh_grey, diverging, encode_png, robust_sigma
from astrid.service.access import Viewer
from astrid.service.errors import Problem, responses
from astrid.service.paging import not_modified, tag_of
from astrid.service.routes.candidates import kept
from astrid.service.state import State, StateOf
from astrid.service.work import in_thread
from astrid.stream.stored import stored_alert

__all__ = ["alert_with_images", "router"]

router = APIRouter(prefix="/api/v1/candidates/{survey}/{alert_id}/cutouts", tags=["cutouts"])

_KEPT = {"Cache-Control": "private, max-age=86400"}  # what a survey has sent does not change
_SOFT, _WHITE = 3.0, 30.0  # standard deviations of the sky
_BLACK = 2.0
_REFUSALS = responses(401, 403, 404, 410, 422, 503, 504) | {304: {"description": "Not Modified"}}
_VERSION = 1  # of the pictures

Plane = Literal["science", "reference", "difference"]


def _of(kind: str) -> dict[int | str, dict[str, Any]]:
    return _REFUSALS | {
        200: {
            "description": "The cutout.",
            "content": {kind: {"schema": {"type": "string", "format": "binary"}}},
        }
    }


@router.get("/{plane}.png", response_class=Response, responses=_of("image/png"))
async def png(
    request: Request,
    state: StateOf,
    user: Viewer,
    survey: str,
    alert_id: str,
    plane: Plane,
    stretch: Annotated[
        Literal["asinh", "linear"],
        Query(description="Of the pixels; the difference is blue below 0, orange above."),
    ] = "asinh",
    invert: Annotated[bool, Query(description="Sources dark on a bright sky.")] = False,
    zoom: Annotated[int, Query(ge=1, le=8, description="Each pixel becomes so many on a side.")] = 1,
) -> Response:
    """One cutout as a picture, the first row of the survey's array at the bottom."""
    record = await in_thread(state, kept, state, survey, alert_id)
    tag = tag_of(record.packet, plane, stretch, invert, zoom, _VERSION)
    unchanged = not_modified(request, tag, _KEPT)
    if unchanged is not None:
        return unchanged

    def work() -> bytes:
        image = _image(alert_with_images(state, survey, alert_id), plane)
        return _picture(image, plane, stretch, invert, zoom)

    content = await in_thread(state, work)
    return Response(content, headers={"ETag": tag, **_KEPT}, media_type="image/png")


@router.get("/{plane}.fits", response_class=Response, responses=_of("application/fits"))
async def fits(
    request: Request, state: StateOf, user: Viewer, survey: str, alert_id: str, plane: Plane
) -> Response:
    """One cutout as FITS: the numbers that the survey sent, in its units and with its sign."""
    record = await in_thread(state, kept, state, survey, alert_id)
    tag = tag_of(record.packet, plane, _VERSION)
    unchanged = not_modified(request, tag, _KEPT)
    if unchanged is not None:
        return unchanged

    def work() -> bytes:
        alert = alert_with_images(state, survey, alert_id)
        return _file(alert, plane, _image(alert, plane))

    content = await in_thread(state, work)
    name = f'attachment; filename="{record.packet[:16]}_{plane}.fits"'
    headers = {"ETag": tag, "Content-Disposition": name, **_KEPT}
    return Response(content, headers=headers, media_type="application/fits")


def alert_with_images(state: State, survey: str, alert_id: str) -> Alert:
    """A candidate's alert from its packet.

    Raises
    ------
    PacketError
        The packet cannot be read.
    """
    return stored_alert(
        state.store, survey, alert_id, book=state.shared.get("schemas"), history=False, cutouts=True
    )


def _image(alert: Alert, plane: str) -> NDArray[np.float32]:
    cutout = alert.cutouts.get(plane)
    if cutout is None or cutout.image is None:
        reason = "it was not sent" if cutout is None else cutout.problem
        raise Problem(404, f"there is no {plane} cutout of this candidate ({reason})")
    return cutout.image


def _picture(image: NDArray[np.float32], plane: str, stretch: str, invert: bool, zoom: int) -> bytes:
    good = good_pixels(image)
    values = np.where(good, image, np.nan)
    if not good.any():
        raise PacketError(f"the {plane} cutout has no pixel with a value")
    level = 0.0 if plane == "difference" else float(np.median(image[good]))
    sigma = robust_sigma(values) or float(np.std(image[good], dtype=np.float64)) or 1.0
    if plane == "difference":
        limit = max(float(np.abs(image[good]).max()), 3 * sigma)
        shown = np.arcsinh(values / sigma) if stretch == "asinh" else values
        index = diverging(shown, float(np.arcsinh(limit / sigma)) if stretch == "asinh" else limit, ~good)
        if invert:
            index = np.where(good, 2 * 192 - index.astype(int), 0).clip(0, 255).astype(np.uint8)
    else:
        low, high = level - _BLACK * sigma, level + _WHITE * sigma
        high = max(high, float(image[good].max())) if stretch == "asinh" else high
        soft = _SOFT * sigma if stretch == "asinh" else 1e6 * (high - low)
        index = asinh_grey(values, low, high, soft, ~good)
        if invert:
            index = np.where(index > 0, 128 - index, 0).astype(np.uint8)
    return encode_png(np.flipud(index).repeat(zoom, axis=0).repeat(zoom, axis=1))


def _file(alert: Alert, plane: str, image: NDArray[np.float32]) -> bytes:
    from astropy.io import fits as library

    header = library.Header()
    header["SURVEY"] = _plain(alert.survey)
    header["ALERTID"] = (_plain(alert.alert_id), "the survey's number of the alert")
    header["OBJECTID"] = (_plain(alert.object_id or ""), "the survey's name of the object")
    header["PLANE"] = plane
    header["FLIPPED"] = (plane == "difference" and alert.flipped, "reference minus science")
    for key, value, comment in (
        ("MJD-OBS", alert.mjd, alert.time_scale or ""),
        ("RA", alert.ra, "deg"),
        ("DEC", alert.dec, "deg"),
        ("FILTER", alert.detection.band, ""),
    ):
        if value is not None:
            header[key] = (_plain(value) if isinstance(value, str) else value, comment)
    stream = io.BytesIO()
    library.PrimaryHDU(np.asarray(image, np.float32), header).writeto(stream)
    return stream.getvalue()


def _plain(text: str) -> str:
    """What a card can hold: identifiers come from packets."""
    return "".join(one if " " <= one <= "~" else "?" for one in text)[:60]
