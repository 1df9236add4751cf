"""`anomaly-exporter accept`."""

from pathlib import Path
from typing import Annotated

import typer

from exporter.cli.common import CONFIG, Config, Profile, fail


def accept(
    job: Annotated[str, typer.Option(help="Job whose open incidents to accept as normal.")],
    entity: Annotated[
        list[str] | None,
        typer.Option(help="Only the entities with these labels, 'instance=\"a\"'; may be repeated. Default: all."),
    ] = None,
    config: Config = CONFIG,
    profile: Profile = None,
    url: Annotated[str | None, typer.Option(help="URL of the exporter, if it runs on another machine.")] = None,
    user: Annotated[
        str | None, typer.Option(help="User name; the password is read from ANOMALY_EXPORTER_PASSWORD.")
    ] = None,
    cert: Annotated[Path | None, typer.Option(help="Client certificate, if the exporter asks for one.")] = None,
    key: Annotated[Path | None, typer.Option(help="Key of the client certificate.")] = None,
) -> None:
    """Accept the level of open incidents as normal: the running exporter closes them at its next cycle."""
    from exporter.cli.accept_client import NotAccepted, accept_incidents
    from exporter.config.load import ConfigError, load

    try:
        web = load(config, profile).config.web
        typer.echo(accept_incidents(web, job, entity or (), url, user, cert, key), nl=False)
    except ConfigError as error:
        fail(error, code=2)
    except NotAccepted as error:
        fail(error, code=1)
