"""The Open Inference Protocol, version 2: the names, tensors and answers that inference clients know.

Tensors are JSON, which costs several times as much as the packets and arrays of `classify`.

References
----------
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from astrid._version import __version__
from astrid.service.access import Viewer
from astrid.service.decoding import json_of
from astrid.service.errors import Problem, responses
from astrid.service.models import Model, get_models
from astrid.service.paging import JSON, json_bytes, reply
from astrid.service.state import State, StateOf
from astrid.service.work import in_thread

__all__ = ["router"]

router = APIRouter(prefix="/v2", tags=["inference"])

_MOST = 1024  # items
_REFUSALS = responses(401, 403, 404, 422, 503, 504)
_TYPES = {
    "FP32",
    "FP64",
    "FP16",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "BOOL",
}

Name = Annotated[str, Path(max_length=200)]
Version = Annotated[str, Path(max_length=64)]


class Server(BaseModel):
    """The server."""

    name: str
    version: str
    extensions: list[str]


class Tensor(BaseModel):
    """A tensor without its numbers; -1 is the number of items."""

    name: str
    datatype: str
    shape: list[int]


class ModelFacts(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class ModelReady(BaseModel):
    """Whether a model can be asked."""

    name: str
    ready: bool


class Given(BaseModel):
    """A tensor; its data may be nested or flat."""

    name: str
    shape: list[int] = Field(min_length=1, max_length=8)
    datatype: str
    data: list[Any]


class Wanted(BaseModel):
    """An output that is wanted."""

    name: str


class Question(BaseModel):
    """A request for inference."""

    id: str | None = None
    inputs: list[Given] = Field(min_length=1)
    outputs: list[Wanted] | None = None


class Result(Tensor):
    """An output."""

    data: list[Any]


class Inferred(BaseModel):
    """The answer to a request for inference."""

    id: str | None = None
    model_name: str
    model_version: str
    outputs: list[Result]


@router.get("", response_model=Server, responses=responses(401, 403))
async def server(user: Viewer) -> Server:
    """The name of the server, and what it can do."""
    return Server(name="astrid", version=__version__, extensions=[])


@router.get("/models/{name}", response_model=ModelFacts, responses=_REFUSALS)
async def facts(request: Request, state: StateOf, user: Viewer, name: Name) -> Response:
    """What a model takes and gives."""
    return reply(request, _facts(await _model(state, name)))


@router.get("/models/{name}/versions/{version}", response_model=ModelFacts, responses=_REFUSALS)
async def facts_of_version(
    request: Request, state: StateOf, user: Viewer, name: Name, version: Version
) -> Response:
    """What a version of a model takes and gives; only the present one is served."""
    return reply(request, _facts(await _model(state, name, version)))


@router.get("/models/{name}/ready", response_model=ModelReady, responses=_REFUSALS)
async def ready(state: StateOf, user: Viewer, name: Name) -> ModelReady:
    """Whether a model can be asked."""
    return await _ready(state, await _model(state, name))


@router.get("/models/{name}/versions/{version}/ready", response_model=ModelReady, responses=_REFUSALS)
async def ready_of_version(state: StateOf, user: Viewer, name: Name, version: Version) -> ModelReady:
    """Whether a version of a model can be asked."""
    return await _ready(state, await _model(state, name, version))


_TENSOR = Given.model_json_schema()
_QUESTION = {
    **Question.model_json_schema(),
    "properties": {
        "id": {"type": "string"},
        "inputs": {"type": "array", "minItems": 1, "items": _TENSOR},
        "outputs": {"type": "array", "items": Wanted.model_json_schema()},
    },
}
_QUESTION.pop("$defs")  # its parts stand in it: the description of a body has no place for them
_INFER: dict[str, Any] = {
    "response_model": Inferred,
    "responses": _REFUSALS | responses(400, 413),
    "openapi_extra": {"requestBody": {"required": True, "content": {JSON: {"schema": _QUESTION}}}},
}


@router.post("/models/{name}/infer", **_INFER)
async def infer(request: Request, state: StateOf, user: Viewer, name: Name) -> Response:
    """Ask a model: a probability for each label, the decision, and where it does not apply why not."""
    content = await request.body()
    return await _infer(state, await _model(state, name), content)


@router.post("/models/{name}/versions/{version}/infer", **_INFER)
async def infer_version(
    request: Request, state: StateOf, user: Viewer, name: Name, version: Version
) -> Response:
    """Ask a version of a model."""
    content = await request.body()
    return await _infer(state, await _model(state, name, version), content)


async def _model(state: State, name: str, version: str | None = None) -> Model:
    found = await in_thread(state, get_models(state).find, name, lane="models")
    if version is not None and version not in (found.version, found.bundle.hash):
        raise Problem(404, f"{name} is served as version {found.version} only; ask for that, or for none")
    return found


async def _ready(state: State, model: Model) -> ModelReady:
    await in_thread(state, get_models(state).predictor, model, lane="models")
    return ModelReady(name=model.name, ready=True)


async def _infer(state: State, model: Model, content: bytes) -> Response:
    return Response(await in_thread(state, _inferred, state, model, content, lane="models"), media_type=JSON)


def _inferred(state: State, model: Model, content: bytes) -> bytes:
    question = json_of(content)
    if not isinstance(question, dict):
        raise Problem(422, "the body is no object; send one with inputs")
    identifier = question.get("id")
    if identifier is not None and not isinstance(identifier, str):
        raise Problem(422, "id is no text; leave it out, or send text")
    arrays = _arrays(model, question.get("inputs"))
    prediction = get_models(state).predictor(model)(arrays, spread=False)
    outputs: list[dict[str, Any]] = []
    for name, head in prediction.heads.items():
        outputs.append(_tensor(name, "FP32", head.values))
        for what, words in (("decision", head.decision), ("set", head.labels_in_set)):
            if words.size and words[0]:
                outputs.append(_tensor(f"{name}_{what}", "BYTES", words))
    outputs.append(_tensor("applicable", "BYTES", prediction.applicable))
    answer = {"model_name": model.name, "model_version": model.version}
    if identifier is not None:
        answer["id"] = identifier
    return json_bytes({**answer, "outputs": _wanted(outputs, question.get("outputs"))})


def _arrays(model: Model, given: Any) -> dict[str, NDArray[np.float32]]:
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise Problem(422, "inputs is no list of tensors; send one for each input of the model")
    taken = model.bundle.task.inputs
    arrays: dict[str, NDArray[np.float32]] = {}
    for one in given:
        name = one.get("name")
        if not isinstance(name, str) or name not in taken:
            raise Problem(422, f"{model.name} takes {', '.join(taken)}, and not {str(name)[:60]!r}")
        arrays[name] = _array(name, one)
    absent = [name for name in taken if name not in arrays]
    if absent:
        raise Problem(422, f"{model.name} also takes {absent[0]}; send all of {', '.join(taken)}")
    numbers = {len(array) for array in arrays.values()}
    if len(numbers) > 1 or not 1 <= max(numbers) <= _MOST:
        raise Problem(422, f"the inputs have {sorted(numbers)} items; send 1 to {_MOST}, as many of each")
    return arrays


def _array(name: str, tensor: dict[str, Any]) -> NDArray[np.float32]:
    shape, data, kind = tensor.get("shape"), tensor.get("data"), tensor.get("datatype")
    if kind not in _TYPES:
        raise Problem(422, f"the datatype of {name} is {str(kind)[:20]!r}; send FP32")
    if not isinstance(shape, list) or not shape or not all(type(side) is int and side >= 0 for side in shape):
        raise Problem(
            422, f"the shape of {name} is no list of whole numbers; send one such as [1, 63, 63, 3]"
        )
    if not isinstance(data, list):
        raise Problem(422, f"the data of {name} are no list of numbers; send one")
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(data, np.float64).astype(np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise Problem(
            422, f"the data of {name} are not all numbers, or of unequal lengths; correct them"
        ) from error
    if array.size != math.prod(shape[:8]) or len(shape) > 8:
        raise Problem(
            422, f"{array.size} numbers of {name} were sent, and its shape is {shape[:8]}; correct one"
        )
    return array.reshape(shape)


def _tensor(name: str, kind: str, values: NDArray[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": kind, "shape": list(values.shape), "data": values.ravel().tolist()}


def _wanted(outputs: list[dict[str, Any]], given: Any) -> list[dict[str, Any]]:
    if given is None:
        return outputs
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise Problem(422, "outputs is no list of names; leave it out for all")
    names = [str(one.get("name")) for one in given]
    known = {one["name"]: one for one in outputs}
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise Problem(422, f"there is no output {unknown[:60]!r}; there are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)]


def _facts(model: Model) -> dict[str, Any]:
    inputs = [
        {"name": name, "datatype": "FP32", "shape": [-1, *one.shape]}
        for name, one in model.bundle.task.inputs.items()
    ]
    outputs: list[dict[str, Any]] = []
    for name, head in model.bundle.task.heads.items():
        outputs.append({"name": name, "datatype": "FP32", "shape": [-1, head.size]})
        if head.kind in ("binary", "multiclass"):
            outputs.append({"name": f"{name}_decision", "datatype": "BYTES", "shape": [-1]})
        if model.bundle.card.head(name).conformal is not None:
            outputs.append({"name": f"{name}_set", "datatype": "BYTES", "shape": [-1]})
    outputs.append({"name": "applicable", "datatype": "BYTES", "shape": [-1]})
    return {"name": model.name, "versions": [model.version], "platform": "onnx_onnxruntime", "inputs": inputs,
            "outputs": outputs}  # fmt: skip
