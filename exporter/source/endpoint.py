"""A session to another server than the source: Alertmanager, a Pushgateway."""

from exporter.config.sections.source import BasicAuth, ClientTLS, PrometheusConfig
from exporter.config.sections.train import Endpoint
from exporter.source.http_session import Session


def session_to(endpoint: Endpoint, retries: int = 2) -> Session:
    """Return a session whose requests raise SourceError when they fail, and for every status other than 200."""
    return Session(as_source(endpoint, retries))


def as_source(endpoint: Endpoint, retries: int = 2) -> PrometheusConfig:
    """Return how to reach the server, in the keys of a source."""
    auth = None
    if endpoint.username is not None and endpoint.password is not None:
        auth = BasicAuth(username=endpoint.username, password=endpoint.password)
    return PrometheusConfig(
        url=endpoint.url,
        deadline=endpoint.deadline,
        retries=retries,
        basic_auth=auth,
        bearer=endpoint.bearer,
        tls=ClientTLS(ca_file=endpoint.ca_file),
    )
