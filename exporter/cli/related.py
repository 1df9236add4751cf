"""`anomaly-exporter related`."""

from typing import Annotated

import typer

from exporter.cli.common import CONFIG, Cert, Config, Json, Key, Profile, Url, User, print_answer


def related(
    job: Annotated[str, typer.Option(help="Job of the incident.")],
    entity: Annotated[str, typer.Option(help='All labels of the series: \'instance="a",device="sda"\'.')] = "",
    incident: Annotated[
        float | None, typer.Option(help="When it began, Unix seconds. Default: the one that is open.")
    ] = None,
    expr: Annotated[str | None, typer.Option(help="PromQL whose series to compare, instead of all jobs.")] = None,
    config: Config = CONFIG,
    profile: Profile = None,
    url: Url = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Tell what else moved when an incident began: series of all jobs, or of an expression."""
    from exporter.cli.related_output import told

    where = config, profile, url, user, cert, key
    print_answer(where, lambda exporter: told(exporter, job, entity, incident, expr, json))
