"""`anomaly-exporter init`."""

from pathlib import Path
from typing import Annotated

import typer

from exporter.cli.common import CONFIG, fail


def init(
    preset: Annotated[
        list[str] | None, typer.Option(help="node, kubernetes, http or self (Prometheus itself); may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Output file.")] = CONFIG,
    prometheus_url: Annotated[str, typer.Option(help="URL of Prometheus.")] = "http://localhost:9090",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented configuration to start from: jobs for node_exporter, Kubernetes, HTTP services, Prometheus."""
    from exporter.config.sections.root import BUDGET
    from rules.init import InitError, write

    try:
        write(preset or (), out, prometheus_url, force=force)
    except InitError as error:
        fail(error, code=2)
    typer.echo(f"at most {BUDGET:g} alerts a week come by chance, of all jobs together: budget in {out}")
    typer.echo(f"{out} is ready: anomaly-exporter run --config {out}")
