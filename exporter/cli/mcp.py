"""`anomaly-exporter mcp`."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from exporter.cli.common import CONFIG, Config, Profile, fail


def mcp(
    config: Config = CONFIG,
    profile: Profile = None,
    url: Annotated[str | None, typer.Option(help="URL of the exporter, if it runs on another machine.")] = None,
    user: Annotated[
        str | None, typer.Option(help="User name; the password is read from ANOMALY_EXPORTER_PASSWORD.")
    ] = None,
    cert: Annotated[Path | None, typer.Option(help="Client certificate, if the exporter asks for one.")] = None,
    key: Annotated[Path | None, typer.Option(help="Key of the client certificate.")] = None,
) -> None:
    """Serve what the exporter knows as tools for a language model (MCP), over standard input and output.

    It asks a running exporter, with its login and its rights: nobody can answer an incident here who may not there.
    """
    from exporter.cli.accept_client import NotAccepted, login, own_url
    from exporter.config.load import ConfigError, load

    if find_spec("mcp") is None:
        fail("mcp needs the Python package mcp, which is not installed: pip install 'anomaly-exporter[mcp]'", code=1)
    from exporter.cli.feedback_client import Exporter
    from exporter.cli.mcp_stdio import serve

    try:
        web = load(config, profile).config.web
        login(web, url, user)  # a password that is missing is said at once
        url or own_url(web)
        serve(Exporter(web, url, user, cert, key))
    except ConfigError as error:
        fail(error, code=2)
    except NotAccepted as error:
        fail(error, code=1)
