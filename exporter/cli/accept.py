"""`anomaly-exporter accept`."""

from typing import Annotated

import typer

from exporter.cli.common import CONFIG, Cert, Config, Key, Profile, Url, User, asking_the_exporter


def accept(
    job: Annotated[str, typer.Option(help="Job whose open incidents to accept as normal.")],
    entity: Annotated[
        list[str] | None,
        typer.Option(help="Only the entities with these labels, 'instance=\"a\"'; may be repeated. Default: all."),
    ] = None,
    config: Config = CONFIG,
    profile: Profile = None,
    url: Url = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Accept the level of open incidents as normal: the running exporter closes them at its next cycle."""
    from exporter.cli.accept_client import accept_incidents
    from exporter.config.load import load

    with asking_the_exporter():
        web = load(config, profile).config.web
        typer.echo(accept_incidents(web, job, entity or (), url, user, cert, key), nl=False)
