"""Labels over HTTP: what to look at next, an answer, and taking it back.

What an answer means and who gets which item is decided in `astrid.review`; a page and a program come
through the same routes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from astrid.errors import UsageError
from astrid.review.assignment import release, take
from astrid.review.items import Item
from astrid.review.labelling import answer, undo
from astrid.review.profiles import Profile, profiles
from astrid.review.vocabulary import questions
from astrid.service.access import Labeller, Viewer
from astrid.service.errors import Problem, responses
from astrid.service.paging import moment, next_link, place_after, reply
from astrid.service.state import State, StateOf
from astrid.store.answers import LabelRecord

__all__ = ["profile_of", "router", "task_of"]

router = APIRouter(prefix="/api/v1/labels", tags=["labels"])

_KEY = r"^[A-Za-z0-9_.:-]{8,100}$"
_ASKED = responses(400, 401, 403, 422, 503)

Task = Annotated[
    str | None, Query(max_length=64, description="A system of the zoo; that of the service if left out.")
]


class NewAnswer(BaseModel):
    """What somebody says about one alert."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(
        pattern=_KEY,
        description="Made by whoever sends it, another one for each answer: sent twice, it is stored once.",
    )
    survey: str = Field(max_length=64)
    alert_id: str = Field(max_length=200)
    task: str | None = Field(default=None, max_length=64)
    answer: Literal["label", "unsure", "skip"] = "label"
    label: str | None = Field(default=None, max_length=64, description="Only where the answer is a label.")
    tags: list[Annotated[str, Field(max_length=64)]] = Field(default=[], max_length=40)
    note: str = Field(default="", max_length=2000)
    seconds: float | None = Field(
        default=None, ge=0, le=86400, allow_inf_nan=False, description="From seeing it to answering."
    )
    shown: bool = Field(
        default=False, description="Whether the model's opinion was to be seen before the answer."
    )


class Answer(BaseModel):
    """An answer that is stored."""

    id: int
    key: str
    task: str
    survey: str
    alert_id: str
    user: str
    answer: str
    label: str | None
    tags: list[str]
    note: str
    at: str | None
    seconds: float | None
    slot: str
    blind: bool
    shown: bool
    bundle: str | None
    hash: str | None
    score: float | None
    source: str
    undone: str | None


class Answers(BaseModel):
    """A page of answers."""

    labels: list[Answer]
    next: str | None


class NextItem(BaseModel):
    """One alert that is asked about."""

    survey: str
    alert_id: str
    object_id: str | None
    slot: str
    value: float | None
    blind: bool
    until: str | None = Field(description="Nobody else gets it before.")


class NextItems(BaseModel):
    """What somebody is asked about, the next first."""

    task: str
    items: list[NextItem]
    remaining: int = Field(description="Items of the queue that wait for an answer.")


class Given(BaseModel):
    """Items that are given back."""

    model_config = ConfigDict(extra="forbid")

    task: str | None = Field(default=None, max_length=64)
    items: list[tuple[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=200)]]] | None = (
        Field(
            default=None,
            max_length=1000,
            description="Survey and number of alerts; all that one has if left out.",
        )
    )


class Released(BaseModel):
    """How many items others can get now."""

    n: int


class Choices(BaseModel):
    """What can be answered."""

    task: str
    title: str
    labels: list[dict[str, Any]]
    tags: list[dict[str, str]]


@router.get("", responses=_ASKED)
def list_labels(
    request: Request,
    state: StateOf,
    user: Viewer,
    task: Task = None,
    of: Annotated[str | None, Query(max_length=64, description="Whose; everybody's if left out.")] = None,
    undone: Annotated[bool, Query(description="Also those that were taken back.")] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=600)] = None,
) -> Answers:
    """Answers in the order in which they were stored."""
    after = place_after(request, cursor, (int,))
    table = state.store.labels.of_task(
        task_of(state, task), undone=undone, users=None if of is None else [of]
    )
    rows = [row for row in table.to_pylist() if after is None or row["id"] > after[0]]
    page = rows[:limit]
    link, headers = next_link(request, [page[-1]["id"]]) if len(rows) > limit else (None, {})
    found = {"labels": [_told(row) for row in page], "next": link}
    return reply(request, found, headers=headers)  # type: ignore[return-value]


@router.get("/choices", responses=_ASKED)
def choices(state: StateOf, user: Viewer, task: Task = None) -> Choices:
    """The labels of a task, and the tags that can be given beside them."""
    vocabulary = questions(task_of(state, task))
    return Choices(
        task=vocabulary.task,
        title=vocabulary.title,
        labels=[
            {"label": one.label, "keys": list(one.keys), "positive": one.positive}
            for one in vocabulary.choices
        ],
        tags=[{"tag": one.name, "kind": one.kind, "meaning": one.meaning} for one in vocabulary.tags],
    )


@router.get("/next", responses=_ASKED)
def next_items(
    state: StateOf,
    user: Labeller,
    task: Task = None,
    n: Annotated[int, Query(ge=1, le=500)] = 1,
    profile: Annotated[str | None, Query(max_length=64, description="A saved view of the queue.")] = None,
) -> NextItems:
    """Items to answer: what you have not finished first, then what nobody else has on the screen."""
    name = task_of(state, task)
    view = profile_of(state, user.name, profile)
    items = take(state.store, name, user.name, n=n, profile=view)
    waiting, _, _ = state.store.labels.queue_made(name)
    return NextItems(task=name, items=[_item(one) for one in items], remaining=waiting)


@router.post("/release", responses=_ASKED)
def give_back(state: StateOf, user: Labeller, given: Given) -> Released:
    """Give items back that you have not answered, so that others can get them at once."""
    return Released(n=release(state.store, task_of(state, given.task), user.name, given.items))


@router.post("", responses=responses(400, 401, 403, 404, 422, 503))
def add_label(state: StateOf, user: Labeller, new: NewAnswer) -> Answer:
    """Store an answer: when this returns, it survives a killed server."""
    task = task_of(state, new.task)
    if state.store.alert(new.survey, new.alert_id) is None:
        raise Problem(404, f"there is no alert {new.alert_id} of {new.survey}; check survey and number")
    record = answer(
        state.store, task, user.name, (new.survey, new.alert_id), key=new.key, answer=new.answer,
        label=new.label, tags=new.tags, note=new.note, seconds=new.seconds, shown=new.shown,
    )  # fmt: skip
    return Answer.model_validate(_told(record._asdict()))


@router.delete("/{key}", responses=responses(400, 401, 403, 404, 422, 503))
def take_back(
    state: StateOf, user: Labeller, response: Response, key: Annotated[str, Path(pattern=_KEY)]
) -> Answer:
    """Take your answer back; the item is the next that you are asked."""
    known: LabelRecord | None = state.store.labels.by_key([key]).get(key)
    if known is None or known.user != user.name:
        raise Problem(404, f"you gave no answer with the key {key}; check it")
    record = undo(state.store, user.name, key)
    return Answer.model_validate(_told(record._asdict()))


def task_of(state: State, task: str | None) -> str:
    """The name of a task whose items people can be asked about.

    Raises
    ------
    UsageError
        There is no such task, or it has no classes.
    """
    return questions(task or state.settings.task).task


def profile_of(state: State, user: str, name: str | None) -> Profile | None:
    """A saved profile of a person; None without a name.

    Raises
    ------
    UsageError
        There is none of this name.
    """
    if not name:
        return None
    known = {one.name: one for one in profiles(state.store, user)}
    if name not in known:
        raise UsageError(f"{user} has no profile {name!r}; there are: {', '.join(known) or 'none'}")
    return known[name]


def _item(one: Item) -> NextItem:
    facts = one._asdict()
    return NextItem(**{**{name: facts[name] for name in NextItem.model_fields}, "until": moment(one.until)})


def _told(row: dict[str, Any]) -> dict[str, Any]:
    times = {name: moment(row[name]) for name in ("at", "undone")}
    return {name: row[name] for name in Answer.model_fields} | times | {"tags": list(row["tags"])}
