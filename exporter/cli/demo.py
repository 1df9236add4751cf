"""`anomaly-exporter demo`."""

from typing import Annotated

import typer


def demo(
    for_: Annotated[
        str | None,
        typer.Option("--for", help="Stop after this long, for example 2m; exit 0 if every step was seen."),
    ] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Replay recorded series, without real servers.")] = False,
) -> None:
    """Show how a fault becomes an alert and a message, on real servers on this machine."""
    from deploy.demo.main import run
    from exporter.config.values import duration

    try:
        seconds = None if for_ is None else duration(for_)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from None
    raise typer.Exit(run(seconds, replay=replay))
