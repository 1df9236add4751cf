"""Header fields of requests that are read by us: what form is wanted, who asks, and from where."""

from contextlib import suppress

from starlette.requests import Request

from exporter.config.sections.service import WebConfig
from exporter.openmetrics import negotiate
from exporter.web.basic_auth import _credentials
from exporter.web.routes import accepts_gzip
from exporter.web.same_origin import Foreign, check_origin, check_token, media_type

OURS = ()  # they are read, or passed over
SEEDS = (
    b"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
    b"gzip;q=0, identity",
    b"Basic YWxpY2U6c2VjcmV0",
    b"http://localhost:9090",
    b"[::1]:9090",
    b"text/plain;q=nan,application/openmetrics-text;q=1e999;version=",
    b"http://[::1",
    b"application/x-www-form-urlencoded; charset=x",
)


def read(data: bytes) -> None:
    text = data.decode("latin-1")
    form, content_type = negotiate(text)
    assert content_type.isascii()
    assert isinstance(form.openmetrics, bool)
    accepts_gzip(text)
    known = _credentials(data)
    assert known is None or len(known[1]) <= 72
    fields = [(name, data) for name in (b"host", b"origin", b"content-type", b"sec-fetch-site")]
    for kept in (fields, fields[:1], fields[1:2], fields[:3], [(b"host", data), (b"origin", b"http://a")]):
        request = Request({"type": "http", "scheme": "http", "headers": kept, "path": "/", "query_string": b""})
        media_type(request)
        with suppress(Foreign):
            check_origin(request, WebConfig())
        with suppress(Foreign):
            check_token(request, text)
