"""``astrid bench NAME``: run a benchmark and show it beside its goals and peers.

Only the command; what is measured is in `astrid.bench`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astrid.bench import frame
from astrid.cli.output import emit, stages

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command(no_args_is_help=True)
def bench(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help=f"The benchmark: {', '.join(frame.benchmarks())}.")
    ],
    quick: Annotated[bool, typer.Option("--quick", help="A smaller run that ends within a minute.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Also save the result as JSON to this file.", dir_okay=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure AstrID and compare it with its peers, in the same run on the same data.

    A goal that is missed is shown as missed; the command still ends with 0.
    """
    with stages(json) as on_stage:
        report = frame.run(name, quick=quick, on_stage=on_stage)
    if out is not None:
        report.save(out)
    emit(json, report.to_dict(), report.table)
