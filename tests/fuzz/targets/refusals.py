"""Refusals by Prometheus and by what stands between: a status, header fields and any body."""

from exporter.source.error_mapping import refusal, retry_after
from exporter.source.errors import SourceError

OURS = ()  # it makes an error, whatever it is given
SECRET = "hunter2-canary"
STATUSES = (201, 301, 400, 401, 404, 408, 413, 422, 429, 500, 502, 503, 504, 599)
SEEDS = (
    b"\x02\n" + b'{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution of 11,000 points per timeseries"}',
    b"\x0b120\n<html><body>503 Service Unavailable</body></html>",
    b"\x0bWed, 21 Oct 2026 07:28:00 GMT\nno org id",
    b"\x01https://user:" + SECRET.encode() + b"@elsewhere/\nmoved " + SECRET.encode(),
    b"\x07\nexpanding series: rpc error: code = Aborted, limit 5 violated, -search.maxUniqueTimeseries=1",
    b"\x02\nexceeded maximum resolution of " + b"9" * 5000 + b" points",
    b"\x02\nexceeded maximum resolution of , points",
    b"\x01https://user:x]@[elsewhere/\nmoved",
)  # fmt: skip


def read(data: bytes) -> None:
    status = STATUSES[data[0] % len(STATUSES)] if data else 400
    header, _, body = data[1:].partition(b"\n")
    text = header.decode("latin-1")
    headers = {"retry-after": text, "location": text}
    waits = retry_after(text)
    assert waits is None or waits >= 0
    error = refusal(status, headers, body, "http://prometheus:9090", [SECRET])
    assert isinstance(error, SourceError)
    assert "\n" not in str(error)
    assert SECRET not in str(error)
