"""The web.yml of other exporters."""

import atexit
import tempfile
from pathlib import Path

from exporter.config.errors import ConfigError
from exporter.config.sections.service import WebConfig
from exporter.config.web_file import with_web_file

OURS = (ConfigError,)
_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-web")
atexit.register(_FOLDER.cleanup)
SEEDS = (
    b"basic_auth_users:\n  alice: $2y$10$abcdefghijklmnopqrstuuJ1K9r1K9r1K9r1K9r1K9r1K9r1K9r1K\n",
    b"tls_server_config:\n  cert_file: a.crt\n  key_file: a.key\n  client_auth_type: RequireAndVerifyClientCert\n"
    b"  client_ca_file: ca.crt\n  min_version: TLS13\n  cipher_suites: [TLS_AES_128_GCM_SHA256]\n",
    b"http_server_config:\n  http2: true\n  headers: {Strict-Transport-Security: max-age=1, X-Frame-Options: deny}\n",
    b"rate_limit: {interval: 1s}\n",
)


def read(data: bytes) -> None:
    path = Path(_FOLDER.name) / "web.yml"
    path.write_bytes(data)
    with_web_file(WebConfig(), path)
