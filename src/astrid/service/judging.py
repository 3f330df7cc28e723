"""What models say of what was sent: packets, cutouts, a pair of images, light curves, item by item.

How it was sent, and what a request may ask for, is known in the routes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.alerts import Alert, centred_triplet
from astrid.errors import AstridError, FrameError, LightCurveError, PacketError
from astrid.lightcurves.lightcurve import LightCurve
from astrid.service.decoding import alerts_of, arrays_of, curves_in
from astrid.service.errors import Problem
from astrid.service.models import LIVE, Model, Models, get_models, said_of
from astrid.service.state import State
from astrid.survey.curve_inputs import CurveInputs
from astrid.survey.realbogus_data import TRIPLET
from astrid.survey.scoring import classify

__all__ = [
    "answer",
    "chosen_models",
    "curve_models",
    "judge_curves",
    "judge_packets",
    "judge_pair",
    "judge_triplets",
]

_SEARCHED, _TRANSITS = 20, 4  # light curves whose period, or whose transits, are searched for at a time
_LONGEST_CURVE = 20_000  # points: pairs of them are counted
_CANDIDATES = 500  # of a pair of images
_PLANES = TRIPLET.channels


def judge_packets(state: State, content: bytes, names: Sequence[str] | None, dropout: bool) -> dict[str, Any]:
    """What models say of alert packets; in a packet that cannot be used, why."""
    models, chosen = chosen_models(state, names)
    found = alerts_of(content, state.shared.get("schemas"))
    items: list[dict[str, Any]] = []
    for name, alert in found:
        facts: dict[str, Any] = {"name": name, "problem": alert if isinstance(alert, str) else None}
        if isinstance(alert, Alert):
            facts |= {"survey": alert.survey, "alert_id": alert.alert_id, "object_id": alert.object_id}
        items.append({**facts, "scores": {}})
    triplets: dict[int, Any] = {}
    for one in chosen:
        size = next(iter(one.bundle.task.inputs.values())).shape[0]
        if size not in triplets:
            triplets[size] = _triplets([alert for _, alert in found], size, items)
        rows, stack = triplets[size]
        _say(items, rows, one.name, models.predictor(one), stack, dropout)
    return answer(chosen, items)


def _triplets(
    alerts: Sequence[Alert | str], size: int, items: Sequence[dict[str, Any]]
) -> tuple[list[int], NDArray[np.float32]]:
    rows, made = [], []
    for row, alert in enumerate(alerts):
        if isinstance(alert, str):
            continue
        try:
            made.append(centred_triplet(alert, size))
            rows.append(row)
        except PacketError as error:
            items[row]["problem"] = str(error)
    return rows, np.stack(made) if made else np.zeros((0, size, size, len(_PLANES)), np.float32)


def judge_triplets(
    state: State, content: bytes, names: Sequence[str] | None, dropout: bool
) -> dict[str, Any]:
    """What models say of the cutouts in an npz."""
    models, chosen = chosen_models(state, names)
    arrays = arrays_of(content)
    whole = arrays.get("triplet")
    if whole is None:
        absent = [plane for plane in _PLANES if plane not in arrays]
        if absent or len({arrays[plane].shape for plane in _PLANES}) > 1:
            raise Problem(
                422, f"the npz has {sorted(arrays)[:8]}; send triplet, or {', '.join(_PLANES)} of one shape"
            )
        whole = np.stack([np.asarray(arrays[plane], np.float32) for plane in _PLANES], axis=-1)
    whole = np.asarray(whole, np.float32)
    identifiers = arrays.get("id")
    n = len(whole) if whole.ndim else 0
    called = identifiers.tolist() if identifiers is not None and identifiers.shape == (n,) else range(n)
    items: list[dict[str, Any]] = [{"name": str(name), "problem": None, "scores": {}} for name in called]
    for one in chosen:
        shape = next(iter(one.bundle.task.inputs.values())).shape
        wanted = (*shape[:2], len(_PLANES))
        if whole.shape[1:] != wanted:
            raise Problem(
                422, f"the triplets have the shape {whole.shape}, {one.name} takes (n, {wanted})"[:300]
            )
        _say(items, list(range(n)), one.name, models.predictor(one), whole, dropout)
    return answer(chosen, items)


def judge_pair(
    science: bytes, reference: bytes, models: Sequence[str], gain: float | None, threshold: float
) -> dict[str, Any]:
    """What models say of the candidates of two FITS images; for a process of its own."""
    from astrid.images.differencing import DifferenceConfig, difference
    from astrid.images.reading import read_frame
    from astrid.learn.bundle import Bundle
    from astrid.learn.prediction import Predictor

    overrides = {} if gain is None else {"gain": gain}
    with tempfile.TemporaryDirectory(prefix="astrid-") as folder:
        frames = {}
        for name, content in (("science", science), ("reference", reference)):
            path = Path(folder) / f"{name}.fits"
            path.write_bytes(content)
            try:
                frames[name] = read_frame(path, overrides=overrides)
            except FrameError as error:
                raise FrameError(str(error).replace(str(path), f"the {name} image")) from error
        bundles = [Bundle.load(Path(one)) for one in models]
        sizes = {next(iter(bundle.task.inputs.values())).shape[0] for bundle in bundles}
        if len(sizes) > 1:
            raise FrameError("the models take cutouts of different sizes; ask for one of them at a time")
        result = difference(
            frames["science"],
            frames["reference"],
            DifferenceConfig(threshold=threshold, cutout_size=sizes.pop()),
        )
    table = result.candidates
    order = np.argsort(-np.abs(np.ma.filled(table["snr"], 0)), kind="stable")[:_CANDIDATES]
    stack = np.stack([np.asarray(result.triplets[plane], np.float32)[order] for plane in _PLANES], axis=-1)
    items: list[dict[str, Any]] = []
    for k in order.tolist():
        facts = {
            key: _number(table[key][k])
            for key in ("x", "y", "ra", "dec", "flux", "snr")
            if key in table.colnames
        }
        items.append(
            {"name": str(table["id"][k]), "problem": None, "scores": {}, "ra": None, "dec": None, **facts}
        )
    for bundle in bundles:
        _say(items, list(range(len(items))), bundle.name, Predictor(bundle), stack, False)
    return {
        "items": items,
        "n_candidates": len(table),
        "method": result.method,
        "registration_rms_px": float(result.registration_rms_px),
        "limiting_mag_5sigma": result.limiting_mag_5sigma,
        "warnings": list(result.warnings),
    }


def _number(value: Any) -> float | None:
    return None if np.ma.is_masked(value) else float(value)


def curve_models(state: State, names: Sequence[str] | None) -> tuple[Models, list[Model]]:
    """The models of light curves of some names; those in use that search no period, if none is named."""
    models = get_models(state)
    if names:
        return models, [_of_kind(models.find(name), ("light curves", "transits")) for name in names]
    chosen = [
        one
        for one in models.listed().values()
        if one.stage == "live" and one.kind == "light curves" and not CurveInputs(one.bundle).needs_period
    ]
    if not chosen:
        raise Problem(404, "no model of light curves is in use that needs no period; name one")
    return models, chosen


def judge_curves(
    content: bytes,
    kind: str,
    options: Mapping[str, Any],
    paths: Sequence[str],
    star: Mapping[str, float | None],
) -> list[dict[str, Any]]:
    """What the models say of each light curve; in a process of its own where they search."""
    from astrid.learn.bundle import Bundle

    bundles = [Bundle.load(Path(one)) for one in paths]
    planets = [bundle for bundle in bundles if "planet" in bundle.task.heads]
    stars = [bundle for bundle in bundles if "planet" not in bundle.task.heads]
    searched = [bundle for bundle in stars if CurveInputs(bundle).needs_period]
    most = _TRANSITS if planets else _SEARCHED if searched else None
    items: list[dict[str, Any]] = []
    curves: list[tuple[dict[str, Any], LightCurve]] = []
    for one in curves_in(content, kind, options):
        item: dict[str, Any] = {
            "name": one[0] if isinstance(one, tuple) else one.name,
            "problem": None,
            "scores": {},
        }
        items.append(item)
        if isinstance(one, tuple):
            item["problem"] = one[1]
            continue
        item["n_points"] = len(one)
        if len(one) > (10 * _LONGEST_CURVE if planets else _LONGEST_CURVE):
            item["problem"] = f"it has {len(one)} points, at most {_LONGEST_CURVE} are taken; send fewer"
            continue
        curves.append((item, one))
        if most is not None and len(curves) > most:
            raise Problem(
                413, f"there are more than {most} light curves, and these models search each; send fewer"
            )
    if stars:
        _classes(curves, [str(bundle.path) for bundle in stars], [bundle.name for bundle in stars])
    for bundle in planets:
        _dips(curves, bundle, star)
    return items


def _classes(
    curves: Sequence[tuple[dict[str, Any], LightCurve]], paths: Sequence[str], names: Sequence[str]
) -> None:
    from astrid.survey.curve_measures import Measures, measure, prepared

    measures = Measures(features=False, models=tuple(paths))
    good: list[tuple[dict[str, Any], LightCurve]] = []
    for item, curve in curves:
        try:
            good.append((item, prepared(curve)))
        except LightCurveError as error:
            item["problem"] = str(error)
    if not good:
        return
    table, searches = measure([curve for _, curve in good], measures)
    rows = table.to_pylist()
    for (item, _), row, found in zip(good, rows, searches, strict=True):
        item["problem"], item["warnings"] = row["problem"], row["warnings"]
        item["period"] = None if found is None else found.period
        for judge, name in zip(measures.judges, names, strict=True):
            said = {}
            for head, kind in judge.bundle.task.heads.items():
                values = {label: row[column] for label, column in judge.columns(head, kind)}
                if None in values.values():
                    continue
                base = judge.base(head)
                spread = {label: row.get(f"{column}_spread") for label, column in judge.columns(head, kind)}
                said[head] = {
                    "values": values,
                    "spread": None if None in spread.values() else spread,
                    "decision": row.get(f"{base}_decision"),
                    "set": row.get(f"{base}_set"),
                }
            if said:
                item["scores"][name] = {"heads": said, "applicable": row[f"{judge.prefix}_applicable"] or ""}


def _dips(
    curves: Sequence[tuple[dict[str, Any], LightCurve]], bundle: Any, star: Mapping[str, float | None]
) -> None:
    from astrid.learn.prediction import Predictor
    from astrid.survey.transit_search import search_transits
    from astrid.survey.transit_star import Star

    predictor, known = Predictor(bundle), Star(**star)
    for item, curve in curves:
        try:
            found = search_transits(curve, star=known, predictor=predictor)
        except AstridError as error:
            item["problem"] = str(error)
            continue
        item["transits"] = found.as_dict()["candidates"]
        item["warnings"] = "; ".join(found.notes) or None
        score = found.candidates[0].score if found.candidates else None
        if score is not None:
            spread = {"planet": score.spread} if score.spread == score.spread else None
            head = {"values": {"planet": score.planet}, "spread": spread, "decision": score.decision,
                    "set": score.label_set or None}  # fmt: skip
            item["scores"][bundle.name] = {"heads": {"planet": head}, "applicable": score.applicable}


def chosen_models(state: State, names: Sequence[str] | None) -> tuple[Models, list[Model]]:
    """The models of images of some names; the live one if none is named.

    Raises
    ------
    Problem
        404 where there is none, 422 where it takes something else.
    """
    models = get_models(state)
    wanted = dict.fromkeys(names or [LIVE])
    return models, [_of_kind(models.find(name), ("triplets",)) for name in wanted]


def _of_kind(model: Model, kinds: Sequence[str]) -> Model:
    if model.kind not in kinds:
        raise Problem(422, f"{model.name} takes {model.kind}, not {' or '.join(kinds)}; name another model")
    return model


def _say(
    items: Sequence[dict[str, Any]],
    rows: Sequence[int],
    name: str,
    predictor: Any,
    stack: NDArray[np.float32],
    dropout: bool,
) -> None:
    """Put what a model says of some triplets into their items."""
    channels = next(iter(predictor.bundle.task.inputs.values())).channels
    if channels != _PLANES:
        stack = np.ascontiguousarray(stack[..., [_PLANES.index(channel) for channel in channels]])
    heads, applicable = classify(predictor, stack, dropout=dropout)
    for k, row in enumerate(rows):
        said = said_of(heads, applicable, k)
        if said is None:
            items[row]["problem"] = str(applicable[k])
        else:
            items[row]["scores"][name] = said


def answer(chosen: Sequence[Model], items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The items, and with which models they were judged."""
    return {"models": {one.name: one.bundle.hash for one in chosen}, "items": list(items)}
