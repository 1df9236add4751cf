"""`anomaly-exporter feedback` and its commands: answers to incidents."""

from typing import Annotated, Any, Literal

import typer

from exporter.cli.common import CONFIG, Cert, Config, Json, Key, Profile, Url, User, Where, print_answer

feedback = typer.Typer(help="Answer incidents, list the answers, take them back.", no_args_is_help=True)

Job = Annotated[str, typer.Option(help="Job of the incident.")]
Entity = Annotated[str, typer.Option(help='All labels of the series: \'instance="a",device="sda"\'.')]
Why = Annotated[str, typer.Option(help="Why, for those who read it later.")]
Who = Annotated[str | None, typer.Option(help="Your name, where the exporter asks for no login.")]
When = Annotated[float | None, typer.Option("--incident", help="When it began, Unix seconds. Default: the newest.")]
Until = Annotated[str | None, typer.Option(help="When the answer ends: 30d, or 2026-12-24T18:00 (UTC).")]


@feedback.command()
def expected(
    job: Job,
    why: Why,
    entity: Entity = "",
    when: Annotated[
        Literal["once", "weekly", "daily", "always"],
        typer.Option(help="This incident, those around the same time of the week or day, or all that are no larger."),
    ] = "once",
    margin: Annotated[float, typer.Option(help="Up to so many percent larger than this one.")] = 20.0,
    longest: Annotated[
        str | None, typer.Option(help="How long it may last; default: twice as long, 1h at least.")
    ] = None,
    until: Until = None,
    incident: When = None,
    who: Who = None,
    config: Config = CONFIG,
    profile: Profile = None,
    url: Url = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Take an incident, and what is like it, from view: it was none."""
    more = {"when": when, "margin": margin, "longest": longest}
    _give("expected", job, entity, why, until, incident, who, more, (config, profile, url, user, cert, key))


@feedback.command()
def normal(
    job: Job,
    why: Why,
    entity: Entity = "",
    incident: When = None,
    who: Who = None,
    config: Config = CONFIG,
    profile: Profile = None,
    url: Url = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Learn the level of an open incident as normal."""
    _give("normal", job, entity, why, None, incident, who, {}, (config, profile, url, user, cert, key))


@feedback.command()
def silence(
    job: Job,
    why: Why,
    entity: Entity = "",
    until: Until = None,
    incident: When = None,
    who: Who = None,
    config: Config = CONFIG,
    profile: Profile = None,
    url: Url = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Silence the messages about an open incident in Alertmanager, for 4 hours if nothing is said."""
    _give("silence", job, entity, why, until, incident, who, {}, (config, profile, url, user, cert, key))


@feedback.command("incident")
def real(
    job: Job,
    why: Why,
    entity: Entity = "",
    incident: When = None,
    who: Who = None,
    config: Config = CONFIG,
    profile: Profile = None,
    url: Url = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Say that it was a real incident: a label for train and backtest."""
    _give("incident", job, entity, why, None, incident, who, {}, (config, profile, url, user, cert, key))


@feedback.command("list")
def list_(
    job: Annotated[str | None, typer.Option(help="Only answers to incidents of this job.")] = None,
    standing: Annotated[bool, typer.Option("--standing", help="Only those in force.")] = False,
    config: Config = CONFIG,
    profile: Profile = None,
    url: Url = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """List the answers, the newest first."""
    from exporter.cli.feedback_output import listed

    print_answer((config, profile, url, user, cert, key), lambda exporter: listed(exporter, job, standing, json))


@feedback.command()
def undo(
    answer: Annotated[str, typer.Argument(help="Id of the answer, as `feedback list` shows it.")],
    config: Config = CONFIG,
    profile: Profile = None,
    url: Url = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Take an answer back: what follows is as if it had never been given."""
    from exporter.cli.feedback_output import taken_back

    print_answer((config, profile, url, user, cert, key), lambda exporter: taken_back(exporter, answer))


@feedback.command()
def export(
    kind: Annotated[
        Literal["json", "csv", "incidents"],
        typer.Option("--format", help="json for backtest --answers, a table, or the real incidents as a YAML list."),
    ] = "json",
    config: Config = CONFIG,
    profile: Profile = None,
    url: Url = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Print the answers: for backtest --answers, a spreadsheet, or backtest --incidents and train.incidents."""
    from exporter.cli.feedback_output import exported

    print_answer((config, profile, url, user, cert, key), lambda exporter: exported(exporter, kind))


def _give(
    kind: str, job: str, entity: str, why: str, until: str | None, incident: float | None, who: str | None,
    more: dict[str, Any], where: Where,
) -> None:  # fmt: skip
    from exporter.cli.feedback_output import given

    new = {"kind": kind, "job": job, "why": why, "until": until, "since": incident, "who": who} | more
    print_answer(where, lambda exporter: given(exporter, new, entity))
