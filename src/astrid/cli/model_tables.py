"""How the results of ``astrid models`` look on a terminal.

Takes plain values and cards, gives what rich can print; computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from astrid.cli.tables import columns, figures, stack

if TYPE_CHECKING:
    from rich.console import RenderableType

    from astrid.learn.bundle import Bundle, Card, HeadCard, Measured
    from astrid.learn.evaluation import Evaluation
    from astrid.learn.explanation.result import Explanation
    from astrid.learn.registry import Entry
    from astrid.learn.retrospective import Retrospective
    from astrid.learn.study import Study

__all__ = [
    "bundle_facts", "card_view", "counts_view", "entry_facts", "evaluation_view", "explanation_facts",
    "explanation_view",
    "list_view", "made_view", "measured", "queue_view", "run_view", "study_view",
    "verification_view",
]  # fmt: skip

_SHOWN = 2  # figures of a bundle in the list
_FEW_HEADS = 5  # of a model with more of them each has one line
_OF_HEADS = ("AUCPR", "recall at FPR 1 %", "FNR at the threshold", "ECE")
_TRIALS = 10  # of a search
_STORED = ("values", "shapes", "features", "format")  # of an explanation: in its file, not on the terminal


def entry_facts(entry: Entry) -> dict[str, Any]:
    """One bundle of the list as plain values."""
    return {
        "name": entry.name,
        "system": entry.system,
        "stage": entry.stage,
        "shipped": entry.shipped,
        "created": entry.created,
        "hash": entry.hash,
        "path": str(entry.path),
        "metrics": [one.model_dump() for one in entry.metrics],
        "problem": entry.problem,
    }


def list_view(entries: Sequence[Entry], systems: Sequence[str]) -> RenderableType:
    """One line for each bundle, and the systems that can be trained."""
    known = f"systems: {', '.join(systems)}; astrid models train SYSTEM makes a bundle"
    if not entries:
        return stack("no bundles", known)
    table = columns(("bundle", "stage", "from", "made", "hash", "figures"))
    for entry in entries:
        said = entry.problem or "; ".join(measured(one) for one in entry.metrics[:_SHOWN])
        table.add_row(
            entry.name,
            entry.stage if not entry.problem else "damaged",
            "AstrID" if entry.shipped else "you",
            entry.created[:10],
            entry.hash[:12],
            said,
        )
    return stack(table, known)


def measured(one: Measured) -> str:
    """A figure with its interval and its kind of data."""
    interval = "" if one.low is None or one.high is None else f" ({one.low:.4g} to {one.high:.4g})"
    return f"{one.name} {one.value:.4g}{interval}, {one.kind}"


def card_view(bundle: Bundle, stage: str) -> RenderableType:
    """Everything that a card says, to be read from top to bottom."""
    card = bundle.card
    parts: list[RenderableType | str] = [
        figures(_identity(bundle, stage), title=f"{card.name}: {card.task.title or card.task.name}"),
        figures(_questions(bundle), title="\nTask"),
    ]
    if card.data:
        parts.append(figures(_data(bundle), title="\nData and training"))
    if len(card.task.heads) > _FEW_HEADS:
        parts += [_heads(card), "all figures of each head: --json"]
    else:
        if card.metrics:
            parts.append(_metrics(card.metrics))
        parts += [figures(_head(card.head(name)), title=f"\nHead {name}") for name in card.task.heads]
    if card.task.published:
        published = [(one.name, f"{one.value:g} ({one.where})") for one in card.task.published]
        parts.append(figures(published, title="\nPublished, by others, on their data"))
    parts.append(figures([("limits", card.limits or "none stated")], title="\nUse"))
    return stack(*parts)


def _identity(bundle: Bundle, stage: str) -> list[tuple[str, str]]:
    card = bundle.card
    rows = [
        ("path", str(bundle.path)),
        ("hash", bundle.hash),
        ("stage", stage),
        ("made", f"{card.created} by {card.software}"),
        ("origin", card.origin),
        ("licence", card.licence),
        ("parent", card.parent),
        ("files", ", ".join(sorted(card.files))),
        ("torch and ONNX differ by", "" if card.parity is None else f"{card.parity:.1e} at most"),
        ("quantised", ", ".join(f"{name} {value:.4g}" for name, value in card.int8.items())),
    ]
    return [(name, value) for name, value in rows if value]


def _questions(bundle: Bundle) -> list[tuple[str, str]]:
    task = bundle.task
    rows = [("paper", task.paper), ("network", f"{task.network} {task.network_options or ''}".rstrip())]
    for name, one in task.inputs.items():
        shape = " × ".join(str(size) for size in one.shape)
        channels = f"; last axis: {', '.join(one.channels)}" if one.channels else ""
        rows.append((f"input {name}", f"{shape}, {one.unit or 'no unit'}; {one.meaning}{channels}"))
    for name, head in task.heads.items():
        words = getattr(head, "labels", None) or getattr(head, "names", None) or (str(head.kind),)
        rows.append((f"head {name}", f"{head.kind}: {', '.join(words)}"))
    return [(name, value) for name, value in rows if value]


def _data(bundle: Bundle) -> list[tuple[str, str]]:
    card = bundle.card
    rows = []
    for one in card.data:
        parts = ", ".join(f"{name} {count:,}" for name, count in one.parts.items())
        rows += [
            (one.name, f"{one.n:,} rows, {one.kind} ({parts})" if parts else f"{one.n:,} rows, {one.kind}"),
            ("  hash", one.hash),
            ("  labels", one.labels),
            ("  licence", one.licence),
            ("  made by", ", ".join(f"{name} {_short(value)}" for name, value in one.recipe.items())),
        ]
    if card.training is not None:
        recipe = card.training
        how = (
            f"{recipe.loss.name} loss, {recipe.optimizer.name} {recipe.optimizer.lr:g}, batches of "
            f"{recipe.batch_size}, at most {recipe.epochs} epochs, augment {recipe.augment}"
        )
        split = f"by {recipe.split.by}, group {card.task.group}, seed {recipe.seed}"
        rows += [("split", split), ("recipe", how)]
    rows.append(("command", card.command))
    return [(name, value) for name, value in rows if value]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _metrics(found: Sequence[Measured]) -> RenderableType:
    table = columns(
        ("figure", "value", "95 % interval", "n", "on", "data", "domain"), numbers=(1, 3), title="\nMeasured"
    )
    for one in found:
        interval = "" if one.low is None or one.high is None else f"{one.low:.4g} to {one.high:.4g}"
        domain = "as trained on" if one.domain == "in" else "other than trained on"
        table.add_row(one.name, f"{one.value:.4g}", interval, f"{one.n:,}", one.on, one.kind, domain)
    return table


def _heads(card: Card) -> RenderableType:
    """A line for each head of a model that has many."""
    found = {one.name: one for one in card.metrics}
    on = ", ".join(sorted({f"{one.on}, {one.kind}" for one in card.metrics}))
    table = columns(
        ("head", "threshold", "AUCPR", "95 % interval", *_OF_HEADS[1:]), numbers=(1, 2, 4, 5, 6),
        title=f"\nMeasured: {on}",
    )  # fmt: skip
    for name in card.task.heads:
        decision = card.head(name).decision
        first, *others = (found.get(f"{name}: {figure}") for figure in _OF_HEADS)
        interval = ""
        if first is not None and first.low is not None and first.high is not None:
            interval = f"{first.low:.3g} to {first.high:.3g}"
        cells = ["" if one is None else f"{one.value:.3g}" for one in (first, *others)]
        table.add_row(
            name, "" if decision is None else f"{decision.threshold:.3g}", cells[0], interval, *cells[1:]
        )
    return table


def _head(head: HeadCard) -> list[tuple[str, str]]:
    calibration = head.calibration
    how = {
        "none": "none: probabilities are as the network gives them",
        "temperature": f"temperature {calibration.temperature:.4g}",
        "isotonic": f"isotonic, {len(calibration.x)} knots",
    }[calibration.method]
    rows = [("calibration", how + (f"; on {calibration.fitted_on}" if calibration.fitted_on else ""))]
    if head.decision is not None:
        rows.append(("threshold", f"{head.decision.threshold:.4g}: {head.decision.rule}"))
    if head.conformal is not None:
        sets = head.conformal
        for label, alpha in sets.alpha.items():
            promise = f"absent from at most {alpha:.3g} of its own ({sets.n[label]:,} items)"
            rule = f"in where 1 - probability is at most {sets.quantile[label]:.4g}"
            rows.append((f"set, {label}", f"{promise}; {rule}"))
        rows.append(("sets found on", sets.fitted_on))
    return [(name, value) for name, value in rows if value]


def counts_view(summary: Mapping[str, Any]) -> RenderableType:
    """Named values of a result, and where it is."""
    rows = [
        (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
        for name, value in summary.items()
        if name not in ("out",) and value not in (None, "", [])
    ]
    return stack(figures(rows), str(summary["out"]))


def run_view(facts: Mapping[str, Any]) -> RenderableType:
    """A training: what came out, and how to go on."""
    rows = [
        ("epochs", f"{facts['epochs']}, the best is {facts['best_epoch']}"),
        (str(facts["monitor"]), "" if facts["best"] is None else f"{facts['best']:.5g}"),
        ("rows", ", ".join(f"{name} {count:,}" for name, count in facts["rows"].items())),
        ("parameters", "" if facts["parameters"] is None else f"{facts['parameters']:,}"),
        ("on", str(facts["device"] or "")),
    ]
    out, name = facts["out"], facts["task"]
    return stack(
        figures([row for row in rows if row[1]]),
        f"{out}/curves.png",
        f"next: astrid models export {out} --data DIR --name {name}.TAG",
    )


def study_view(study: Study, task: str) -> RenderableType:
    """The trials, the best of them first, and what made the difference."""
    names = list(study.trials[0].values) if study.trials else []
    table = columns(("trial", study.monitor, "epochs", *names), numbers=range(3))
    sign = 1 if study.mode == "min" else -1
    done = [trial for trial in study.trials if trial.value is not None]
    for trial in sorted(done, key=lambda trial: sign * (trial.value or 0.0))[:_TRIALS]:
        values = (
            f"{value:.4g}" if isinstance(value, float) else str(value) for value in trial.values.values()
        )
        table.add_row(str(trial.number), f"{trial.value:.5g}", str(trial.epochs), *values)
    matter = ", ".join(f"{name} {share:.0%}" for name, share in study.importance.items())
    stopped = len(study.trials) - len(done)
    return stack(
        table,
        f"{len(done)} trials were completed, {stopped} stopped early or failed",
        f"what made the difference: {matter}" if matter else "",
        f"{study.path}/importance.png",
        f"next: astrid models train {task} --data DIR --config {study.path}/best.yaml",
    )


def queue_view(result: Retrospective, out: str) -> RenderableType:
    """At which rank each queue finds what was left out."""
    lengths = sorted({length for queue in result.queues for length in queue.recall_at})
    heads = (
        "ordered by",
        "first at",
        "median rank",
        *(f"found in {length:,}" for length in lengths),
        "AUROC",
    )
    table = columns(heads, numbers=range(1, len(heads)))
    for queue in result.queues:
        shares = (f"{queue.recall_at[k]:.0%}" if k in queue.recall_at else "" for k in lengths)
        area = "" if queue.auroc is None else f"{queue.auroc:.3f}"
        table.add_row(queue.score, f"{queue.first:g}", f"{queue.median:g}", *shares, area)
    return stack(
        f"{result.column} = {result.value}: {result.n_left_out:,} of {result.n_queue:,} items of the queue; "
        f"{result.n_removed:,} rows were taken out of the training",
        table,
        f"without any order the first would be at {result.first_by_chance:.3g}",
        f"{out}/retrospective.png",
    )


def verification_view(found: Mapping[str, Any]) -> RenderableType:
    """What is in order."""
    parity = "not compared: " + found["note"] if found["parity"] is None else f"{found['parity']:.1e} at most"
    rows = [
        ("bundle", f"{found['name']} {found['hash']}"),
        ("whole", ", ".join(found["files"])),
        ("runs", ", ".join(found["graphs"])),
        ("torch and ONNX differ by", parity),
    ]
    return figures(rows)


def bundle_facts(bundle: Bundle) -> dict[str, Any]:
    """A bundle that was made, as plain values."""
    card = bundle.card.model_dump(mode="json")
    return {
        "name": bundle.name,
        "hash": bundle.hash,
        "out": str(bundle.path),
        **{name: card[name] for name in ("heads", "uncertainty", "metrics", "parity", "int8")},
    }


def made_view(bundle: Bundle) -> RenderableType:
    """A new bundle: what to know first, and how to see the rest."""
    rows = [("bundle", bundle.name), ("hash", bundle.hash)]
    for name in bundle.task.heads:
        rows += [(f"{name}: {what}", value) for what, value in _head(bundle.card.head(name))]
    rows += [(one.name, measured(one)) for one in bundle.card.metrics]
    return stack(figures(rows), str(bundle.path), f"next: astrid models card {bundle.path}")


def evaluation_view(
    evaluation: Evaluation, measured: Sequence[Measured], facts: Mapping[str, Any]
) -> RenderableType:
    """All figures, and where the page is."""
    strange = f"{evaluation.out_of_range:,} of {evaluation.n:,} are unlike the training data"
    recorded = (
        f"its card has the figures now; its hash is {facts['recorded_as']}" if "recorded_as" in facts else ""
    )
    return stack(
        f"{evaluation.bundle} on {evaluation.on}, {evaluation.n_groups:,} groups",
        _metrics(measured),
        strange if evaluation.out_of_range else "",
        recorded,
        str(facts["report"]),
    )


def explanation_facts(found: Explanation) -> dict[str, Any]:
    """What is said about an explanation; its values are in its file."""
    return {name: value for name, value in found.to_json().items() if name not in _STORED}


def explanation_view(facts: Mapping[str, Any]) -> RenderableType:
    """What was explained, how good the explanation is, and where it is drawn."""

    def known(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    sanity = facts["sanity"]
    rows = [
        ("explained", f"{facts['head']} = {facts['target']}, by {facts['bundle']}"),
        ("probability", known(facts["probability"], ".4f")),
        ("method", f"{facts['method']} of the {facts['of']}, {facts['n_evals']:,} evaluations"),
        ("completeness error", known(facts["completeness_error"], ".2g")),
        (
            "with random weights",
            "" if sanity is None else f"rank correlation {sanity:.2f}; near 0 is good, near 1 is not",
        ),
        ("cost", f"{facts['seconds']:.2f} s"),
        *(("note", note) for note in facts["notes"]),
    ]
    return stack(figures([row for row in rows if row[1]]), *facts["written"])
