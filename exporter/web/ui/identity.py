"""How a series is named in addresses: by its labels, which people can read, or by a digest where they are long."""

import hashlib
import json
import math
import re
from contextlib import suppress
from functools import lru_cache
from typing import Final
from urllib.parse import urlencode

from detectors.types import Key

_LONGEST_LINK: Final = 2000
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def series_id(job: str, key: Key) -> str:
    """Return the digest of a series: the same after a restart and wherever it is computed."""
    text = json.dumps([job, dict(key)], sort_keys=True)  # escapes everything that is not ASCII
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def link(job: str, key: Key, since: float = math.nan) -> str:
    """Return the address of the page of a series, or of the incident that began at `since` (Unix seconds).

    It says all that the page needs, so that it works after a restart and when the series is gone. Only labels that are
    too long for an address are a digest, which has to be looked up.

    >>> link("api", (("path", "/a b"),), 1767607560.0)
    'series?job=api&match=path%3D%22%2Fa+b%22&since=1767607560'
    """
    began = {"since": f"{since:.3f}".rstrip("0").rstrip(".")} if math.isfinite(since) else {}
    if all(name and name.isprintable() for name, _ in key):
        match = ",".join(f'{_named(name)}="{value.translate(_ESCAPES)}"' for name, value in key)
        with suppress(UnicodeEncodeError):  # half of a surrogate pair
            address = "series?" + urlencode({"job": job} | ({"match": match} if match else {}) | began)
            if len(address) <= _LONGEST_LINK:
                return address
    return "series?" + urlencode({"job": job, "id": series_id(job, key)} | began, errors="replace")


def _named(name: str) -> str:
    return name if _NAME.fullmatch(name) else f'"{name.translate(_ESCAPES)}"'


@lru_cache(maxsize=4)
def ids(job: str, keys: tuple[Key, ...]) -> dict[str, Key]:
    """Return the series of a job by their digest."""
    return {series_id(job, key): key for key in keys}
