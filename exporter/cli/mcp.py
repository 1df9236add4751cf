"""`anomaly-exporter mcp`."""

from importlib.util import find_spec

from exporter.cli.common import CONFIG, Cert, Config, Key, Profile, Url, User, asking_the_exporter, fail


def mcp(
    config: Config = CONFIG,
    profile: Profile = None,
    url: Url = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Serve what the exporter knows as tools for a language model (MCP), over standard input and output.

    It asks a running exporter, with its login and its rights: nobody can answer an incident here who may not there.
    """
    from exporter.cli.accept_client import login, own_url
    from exporter.config.load import load

    if find_spec("mcp") is None:
        fail("mcp needs the Python package mcp, which is not installed: pip install 'anomaly-exporter[mcp]'", code=1)
    from exporter.cli.feedback_client import Exporter
    from exporter.cli.mcp_stdio import serve

    with asking_the_exporter():
        web = load(config, profile).config.web
        login(web, url, user)  # a password that is missing is said at once
        url or own_url(web)
        serve(Exporter(web, url, user, cert, key))
