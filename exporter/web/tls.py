"""TLS of our own port, with certificates that may be renewed while it is open."""

import ssl
from pathlib import Path
from typing import Any, Final, Self

import structlog

from exporter.config.sections.service import WebTLS

log = structlog.get_logger()

_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
Signature = tuple[tuple[int, int, int], ...]


class BadTLSFile(Exception):
    """A certificate or key cannot be used. The message names the files."""


def _context(config: WebTLS) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = _VERSIONS[config.min_version], _VERSIONS[config.max_version]
    if config.ciphers:
        context.set_ciphers(":".join(config.ciphers))
    # OpenSSL would ask for the password of an encrypted key on the terminal.
    context.load_cert_chain(config.cert_file, config.key_file, password="")
    if config.client_ca_file is not None:
        context.load_verify_locations(config.client_ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL if config.client_optional else ssl.CERT_REQUIRED
    return context


def _files(config: WebTLS) -> tuple[Path, ...]:
    return tuple(path for path in (config.cert_file, config.key_file, config.client_ca_file) if path is not None)


def _signature(config: WebTLS) -> Signature:
    """Return what changes when a file does; symbolic links are followed, since Kubernetes renews by swapping one."""
    stats = [path.stat() for path in _files(config)]
    return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in stats)


class RenewingContext(ssl.SSLContext):
    """A server context that looks at its files at every new connection and loads them again when they have changed.

    Files that do not load (a certificate was replaced and its key not yet) leave the previous ones active.
    """

    _config: WebTLS
    _seen: Signature
    _inner: ssl.SSLContext

    @classmethod
    def of(cls, config: WebTLS) -> Self:
        """Load the files of `config`. Raises BadTLSFile."""
        self = cls(ssl.PROTOCOL_TLS_SERVER)
        self._config = config
        try:
            self._seen = _signature(config)
            self._inner = _context(config)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            names = ", ".join(str(path) for path in _files(config))
            raise BadTLSFile(f"web.tls: cannot use {names}: {error}") from None
        return self

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """Begin a connection with the files as they are now."""
        self._renew()
        return self._inner.wrap_bio(*args, **options)

    def _renew(self) -> None:
        try:
            signature = _signature(self._config)
            if signature == self._seen:
                return
            self._seen = signature
            self._inner = _context(self._config)
        except (OSError, ValueError) as error:
            log.warning("certificate_not_renewed", error=str(error), hint="the previous one stays active")
        else:
            log.info("certificate_renewed", file=str(self._config.cert_file))
