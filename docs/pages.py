"""Pages made from the code and from the committed results, so that they cannot be out of date.

The command line reference, the tables of benchmark results and the API summary;
everything else in this folder is written by hand. ``python docs/pages.py`` puts the
figures of the last full run into the README.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from astrid.cli.main import NOUNS

REPOSITORY = Path(__file__).resolve().parents[1]

INCLUDED = (
    "commands.md", "benchmarks.md", "columns.md", "scores.md", "flags.md", "profiles.md", "packets.md",
    "systems.md", "bundles.md", "alert_columns.md",
)  # fmt: skip
"""Generated pages that are parts of pages written by hand."""

_ROOMS = (
    "astrid.images",
    "astrid.learn",
    "astrid.zoo",
    "astrid.alerts",
    "astrid.survey",
    "astrid.bench.frame",
    "astrid.errors",
)
_SAME_PAIR = "same pair"
_FEW_HEADS = 5
"""Of a model with more of them each has one line."""
_API_INTRODUCTION = """# Python

The functions behind the commands: numpy arrays and astropy objects in and out. A room is loaded when it is
first used, so `import astrid` costs next to nothing.
"""
_AUTOSUMMARY = """```{eval-rst}
.. autosummary::
   :toctree: api
   :nosignatures:
"""


def write(folder: Path) -> None:
    """Write all generated pages into `folder`, touching only what has changed."""
    folder.mkdir(parents=True, exist_ok=True)
    generated = {
        "commands.md": commands(),
        "benchmarks.md": benchmarks(),
        "api.md": api(),
        "columns.md": columns(),
        "scores.md": scores(),
        "flags.md": flags(),
        "systems.md": systems(),
        "bundles.md": bundles(),
        "profiles.md": profiles(),
        "packets.md": packets(),
        "alert_columns.md": alert_columns(),
    }
    for name, text in generated.items():
        page = folder / name
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def commands() -> str:
    """Every verb with its arguments and options, as Typer knows them."""
    parts = []
    for noun, (module, summary) in NOUNS.items():
        command = typer.main.get_command(importlib.import_module(module).app)
        parts.append(f"## astrid {noun}\n\n{summary}\n")
        parts.extend(_tree(f"astrid {noun}", command, heading=False))
    return "\n".join(parts)


def _tree(title: str, command: Any, *, heading: bool = True) -> Iterator[str]:
    """A command, and those below it."""
    verbs = getattr(command, "commands", None)
    if verbs is None or command.invoke_without_command:
        yield _verb(title, command, heading=heading)
    for name, verb in (verbs or {}).items():
        yield from _tree(f"{title} {name}", verb)


def _verb(title: str, command: Any, *, heading: bool = True) -> str:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option" and item.name != "help"]
    usage = " ".join([title, *(_metavar(item) for item in arguments), "[OPTIONS]"])
    lines = [f"### {title}\n"] if heading else []
    lines += [f"```text\n{usage}\n```\n", inspect.cleandoc(command.help or "").replace("\b", ""), ""]
    rows = [(f"`{_metavar(item)}`", item) for item in arguments]
    rows += [(" ".join(f"`{name}`" for name in (*item.opts, *item.secondary_opts)), item) for item in options]
    if rows:
        lines += ["| | meaning | default |", "|---|---|---|"]
        lines += [f"| {name} | {_cell(item.help)} | {_default(item)} |" for name, item in rows]
    return "\n".join([*lines, ""])


def _metavar(argument: Any) -> str:
    name = argument.metavar or str(argument.name).upper()
    return name + ("..." if argument.nargs == -1 and not name.endswith("...") else "")


def _default(item: Any) -> str:
    if item.required:
        return "required"
    value = item.default
    if value is None or value is False or value in ((), []) or callable(value):
        return ""
    return f"`{getattr(value, 'value', value)}`"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def benchmarks() -> str:
    """The committed results: one section a benchmark, real and simulated data apart."""
    files = sorted((REPOSITORY / "benchmarks" / "results").glob("*.json"))
    if not files:
        return "No full run has been committed yet; `astrid bench difference` makes one.\n"
    return "\n".join(_benchmark(json.loads(file.read_text(encoding="utf-8"))) for file in files)


def _benchmark(report: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    lines = [
        f"## {report['bench']}\n",
        f"`{report['command']}`, {report['date'][:10]}, on {report['cpu']}; {versions}.\n",
    ]
    for kind in ("simulated", "real"):
        rows = [row for row in report["rows"] if row["data"] == kind]
        if rows:
            lines += [f"### On {kind} data\n", *_table(rows), ""]
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "| what | value | goal | met | beside | ratio | n |"
    yield "|---|--:|---|---|---|--:|--:|"
    for row in rows:
        met = {True: "yes", False: "**missed**", None: ""}[row["ok"]]
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.3g}"
        cells = (row["name"], _value(row), row["goal"] or "", met, row["peer"] or "", ratio, row["n"] or "")
        yield "| " + " | ".join(_cell(str(cell)) for cell in cells) + " |"


def readme_figures() -> str:
    """The figures that the README shows: our goals, and our peers on the same pair."""
    file = REPOSITORY / "benchmarks" / "results" / "difference.json"
    if not file.exists():
        return "No full run has been committed yet.\n"
    report = json.loads(file.read_text(encoding="utf-8"))
    shared = [row for row in report["rows"] if _SAME_PAIR in row["name"]]
    goals = [row for row in report["rows"] if row["goal"] and row not in shared]
    lines = [f"On {report['cpu']}, {report['date'][:10]}.", ""]
    lines += ["| measured | value | goal | met | data |", "|---|--:|---|---|---|"]
    for row in goals:
        met = "yes" if row["ok"] else "**missed**"
        lines.append(f"| {_cell(row['name'])} | {_value(row)} | {row['goal']} | {met} | {row['data']} |")
    peers = list(dict.fromkeys(row["peer"].rsplit(":", 1)[0] for row in shared))
    if peers:
        lines += [
            "",
            f"| one simulated pair | AstrID | {' | '.join(peers)} |",
            "|---|" + "--:|" * (len(peers) + 1),
        ]
    for name in dict.fromkeys(row["name"] for row in shared):
        rows = {row["peer"].rsplit(":", 1)[0]: row for row in shared if row["name"] == name}
        figures = [rows[peer]["peer"].rsplit(":", 1)[1].strip() if peer in rows else "–" for peer in peers]
        what = name.split(_SAME_PAIR, 1)[1].strip(" :")
        lines.append(f"| {what} | {_value(next(iter(rows.values())))} | {' | '.join(figures)} |")
    return "\n".join([*lines, ""])


def readme_models() -> str:
    """What the README shows of the bundles: those that say yes or no, then those with several classes."""
    binary = _model_table(
        ("AUCPR", "FNR at 0.5", "FPR at 0.5"), "AUCPR | missed at 0.5 | false alarms at 0.5"
    )
    several = _model_table(("accuracy", "macro F1", "mean AUCPR"), "accuracy | macro F1 | mean AUCPR")
    return f"{binary}\n{several}"


def _model_table(names: tuple[str, ...], titles: str) -> str:
    from astrid.learn.registry import find_bundle, list_bundles

    lines = [f"| bundle | on | data | {titles} | n |", "|---|---|---|--:|--:|--:|--:|"]
    for entry in list_bundles():
        if not entry.shipped:
            continue
        found = {(one.on, one.name): one for one in find_bundle(entry.path).card.metrics}
        for on in dict.fromkeys(on for on, _ in found):
            if any((on, name) not in found for name in names):
                continue
            figures = [found[on, name] for name in names]
            domain = "" if figures[0].domain == "in" else ", of another kind than trained on"
            values = " | ".join(f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})" for one in figures)
            lines.append(
                f"| `{entry.name}` | {_cell(on)} | {figures[0].kind}{domain} | {values} | {figures[0].n:,} |"
            )
    return "\n".join([*lines, ""])


def write_readme() -> None:
    """Put `readme_figures` and `readme_models` between their marks in the README."""
    readme = REPOSITORY / "README.md"
    text = readme.read_text(encoding="utf-8")
    for mark, content in (("figures", readme_figures()), ("models", readme_models())):
        begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{content}{end}{rest.partition(end)[2]}"
    readme.write_text(text, encoding="utf-8")


def _value(row: dict[str, Any]) -> str:
    return "–" if row["value"] is None else f"{row['value']:.4g} {row['unit'] or ''}".strip()


def columns() -> str:
    """The columns of the candidate table, from the code that measures them."""
    from astrid.images.measurement import COLUMNS

    lines = ["| column | unit | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {unit} | {_cell(meaning)} |" for name, (unit, meaning) in COLUMNS.items()]
    return "\n".join([*lines, ""])


def alert_columns() -> str:
    """The columns that filters of alerts can use in every store, from the code that makes them."""
    from astrid.alerts import layouts
    from astrid.stream.columns import Columns

    surveys = [one.name for one in layouts()]
    tables: dict[str, list[str]] = {"": [], **{name: [] for name in surveys}}
    for one in Columns():
        survey, _, own = one.name.partition("_")
        of = survey if survey in tables and own else ""
        ends = ["" if end is None else f"{end:g}" for end in (one.low, one.high)]
        limits = " … ".join(ends).strip() if any(ends) else ""
        meaning = _cell(one.meaning.removeprefix(f"{of}: "))
        tables[of].append(f"| `{one.name}` | {one.type} | {one.unit} | {limits} | {meaning} |")
    head = "| column | type | unit | range | meaning |\n|---|---|---|---|---|"
    parts = ["### Of every survey", "", head, *tables.pop(""), ""]
    for name, rows in tables.items():
        parts += [f"### Of {name}", "", head, *rows, ""]
    return "\n".join(parts)


def scores() -> str:
    """The columns that scoring adds, from the code that adds them."""
    from astrid.survey.scoring import SCORE_COLUMNS

    lines = ["| column | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(meaning)} |" for name, meaning in SCORE_COLUMNS.items()]
    return "\n".join([*lines, ""])


def systems() -> str:
    """The systems of the zoo, from their tasks."""
    from astrid.zoo import task, tasks

    lines = [
        "| system | question | answers | network | paper, with its own figures |",
        "|---|---|---|---|---|",
    ]
    for name in tasks():
        one = task(name)
        answers = "; ".join(f"{head}: {', '.join(_answers(what))}" for head, what in one.heads.items())
        figures = ", ".join(f"{figure.name} {figure.value:g}" for figure in one.published)
        paper = f"{one.paper}: {figures}" if figures else one.paper
        cells = (f"`{name}`", one.title, answers, f"`{one.network.rpartition(':')[2]}`", paper)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _answers(head: Any) -> tuple[str, ...]:
    return getattr(head, "labels", None) or getattr(head, "names", None) or (head.kind,)


def bundles() -> str:
    """The bundles that come with the package, from their cards."""
    from astrid.learn.registry import find_bundle, list_bundles

    shipped = [entry for entry in list_bundles() if entry.shipped]
    if not shipped:
        return "None yet; `astrid models train` and `astrid models export` make one.\n"
    return "\n".join(_bundle(find_bundle(entry.path), entry.stage) for entry in shipped)


def _bundle(bundle: Any, stage: str) -> str:
    card = bundle.card
    data = "; ".join(f"{one.name}, {one.n:,} rows, {one.kind}; {one.labels}" for one in card.data)
    facts = {
        "stage": stage, "hash": f"`{bundle.hash}`", "made": f"{card.created} by {card.software}",
        "licence": card.licence, "parent": card.parent, "data": data,
        "command": f"`{card.command}`" if card.command else "",
        "spread": f"{card.uncertainty.method}, {card.uncertainty.passes}",
        "torch and ONNX differ by": "" if card.parity is None else f"{card.parity:.1e} at most",
        "limits": card.limits,
    }  # fmt: skip
    many = len(card.heads) > _FEW_HEADS
    for name, head in () if many else card.heads.items():
        if head.decision is not None:
            facts[f"threshold of {name}"] = f"{head.decision.threshold:.4g}: {head.decision.rule}"
        for label, alpha in (head.conformal.alpha if head.conformal else {}).items():
            facts[f"sets of {name}"] = (
                facts.get(f"sets of {name}", "") + f"{label} absent from at most {alpha:.3g} of its own. "
            )
    lines = [f"### {bundle.name}\n", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in facts.items() if value]
    if many:
        return "\n".join([*lines, *_heads(card), ""])
    for kind in ("simulated", "real"):
        figures = [one for one in card.metrics if one.kind == kind]
        if figures:
            lines += [f"\nOn {kind} data:\n", "| figure | value | 95 % interval | n | on | domain |"]
            lines.append("|---|--:|---|--:|---|---|")
        for one in figures:
            interval = "" if one.low is None else f"{one.low:.4g} to {one.high:.4g}"
            domain = "as trained on" if one.domain == "in" else "other than trained on"
            cells = (one.name, f"{one.value:.4g}", interval, f"{one.n:,}", one.on, domain)
            lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _heads(card: Any) -> list[str]:
    """One line for each head of a model that has many; `astrid models card` has all of their figures."""
    shown = ("AUCPR", "recall at FPR 1 %", "FNR at the threshold", "FPR at the threshold", "ECE")
    figures = {one.name: one for one in card.metrics}
    where = {f"{one.on}, {one.kind}" for one in card.metrics}
    lines = [
        f"\nOn {'; '.join(sorted(where))}, the first figure with its 95 % interval:\n",
        f"| head | threshold | {' | '.join(shown)} | n |",
        "|---|--:|---|" + "--:|" * len(shown),
    ]
    for name, head in card.heads.items():
        found = [figures.get(f"{name}: {figure}") for figure in shown]
        cells = ["" if one is None else f"{one.value:.3g}" for one in found]
        first = found[0]
        if first is not None and first.low is not None:
            cells[0] += f" ({first.low:.3g} to {first.high:.3g})"
        threshold = "" if head.decision is None else f"{head.decision.threshold:.3g}"
        n = "" if first is None else f"{first.n:,}"
        lines.append("| " + " | ".join([f"`{name}`", threshold, *cells, n]) + " |")
    return lines


def flags() -> str:
    """What `flags` may say, from the code that says it."""
    from astrid.images.artefact_flags import FLAGS

    lines = ["| flag | meaning |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {_cell(meaning)} |" for name, meaning in FLAGS.items()), ""])


def profiles() -> str:
    """The survey profiles that come with AstrID."""
    from astrid.images.profiles import load_profile, profile_names

    lines = ["| profile | for |", "|---|---|"]
    return "\n".join(
        [*lines, *(f"| `{name}` | {load_profile(name).title} |" for name in profile_names()), ""]
    )


def packets() -> str:
    """The fields of an alert packet, from its schema."""
    from astrid.images.packets import candidate_schema

    schema = candidate_schema()
    record = {field["name"]: field for field in schema["fields"]}
    inner = record["candidate"]["type"]["fields"]
    return "\n".join(
        [
            schema["doc"],
            "",
            *_fields(schema["fields"]),
            "",
            "The record `candidate`:",
            "",
            *_fields(inner),
            "",
        ]
    )


def _fields(fields: list[dict[str, Any]]) -> Iterator[str]:
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    for field in fields:
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        names = [kind if isinstance(kind, str) else kind.get("name", kind["type"]) for kind in kinds]
        yield f"| `{field['name']}` | {' or '.join(names)} | {_cell(field.get('doc'))} |"


def api() -> str:
    """Public names of each room, grouped by the module that defines them."""
    parts = [_API_INTRODUCTION]
    for room in _ROOMS:
        module = importlib.import_module(room)
        names = getattr(module, "__all__", None) or [
            name
            for name, value in vars(module).items()
            if inspect.isclass(value) and value.__module__ == room
        ]
        parts.append(f"## {room}\n\n{_summary(module)}\n")
        homes: dict[str, list[str]] = {}
        for name in names:
            member = getattr(module, name)
            if inspect.ismodule(member):
                continue
            homes.setdefault(getattr(member, "__module__", room), []).append(name)
        for home in sorted(homes):
            listed = "\n".join(f"   {room}.{name}" for name in sorted(homes[home]))
            if home != room:
                parts.append(f"### {home.rsplit('.', 1)[-1]}\n\n{_summary(importlib.import_module(home))}\n")
            parts.append(
                "```{eval-rst}\n.. autosummary::\n   :toctree: api\n   :nosignatures:\n\n"
                + listed
                + "\n```\n"
            )
    return "\n".join(parts)


def _summary(module: Any) -> str:
    return (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ")


if __name__ == "__main__":
    write_readme()
