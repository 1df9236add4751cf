"""The headers that show the source who we are."""

import base64

from requests import PreparedRequest

from exporter.config.secrets import Secret, SecretUnavailable
from exporter.config.sections.source import PrometheusConfig
from exporter.source.errors import AccessDenied


class Credentials:
    """Reads the configured headers and their secrets again for every request, so that a rotated token takes effect."""

    def __init__(self, config: PrometheusConfig) -> None:
        self._config = config

    def headers(self) -> dict[str, str]:
        """Return the headers as they are now. Raises AccessDenied when a secret cannot be read or makes no header."""
        config = self._config
        try:
            headers = {n: v.read() if isinstance(v, Secret) else v for n, v in config.headers.items()}
            if config.bearer:
                headers["Authorization"] = f"Bearer {config.bearer.read()}"
            if config.basic_auth:
                pair = f"{config.basic_auth.username}:{config.basic_auth.password.read()}"
                headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        except SecretUnavailable as error:
            raise AccessDenied(f"{config.url} was not asked: {error}") from None
        for name, value in headers.items():
            # http.client would refuse it too, with the value in its message
            if not (value.isascii() and value.isprintable()):
                raise AccessDenied(
                    f"{config.url} was not asked: the value for header {name} holds a line break or another character"
                    " that no header may hold; look at its secret"
                )
        return headers

    def secrets(self, request: PreparedRequest) -> list[str]:
        """Return what of `request` must never be shown."""
        names = [name for name, value in self._config.headers.items() if isinstance(value, Secret)]
        values = [str(request.headers.get(name, "")) for name in [*names, "Authorization", "X-Amz-Security-Token"]]
        return [value.rpartition(" ")[2] for value in values if value]
