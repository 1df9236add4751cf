"""Makes text safe to write: no secret in logs, error texts and traces, no control character in what people read."""

import json
import re
import threading
from contextlib import suppress
from typing import Final
from urllib.parse import quote, quote_plus, urlsplit

MASK: Final = "***"
_SHORTEST = 4  # masking a secret of one letter would blot out every line and so give the secret away
_SHORTEST_PATH = 12  # a short one, such as /api, is not a secret
_MOST = 256  # forms remembered: tokens rotate, and an old one is worth nothing

_PATTERNS: Final = (
    (re.compile(r"(?<=://)[^\s/?#\"'<>]+(?=@)"), MASK),  # user information of a URL
    (re.compile(r"/services/T\w+/B\w+/\w+"), f"/services/{MASK}"),  # Slack: the path is the secret
    (re.compile(r"(?i)([?&][\w.-]*(?:token|key|secret|passw\w*|sig(?:nature)?)=)[^&\s\"'#]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*(?:b?['\"])?)(?:(?:basic|bearer)\s+)?[^\s'\",;]+"), rf"\1{MASK}"),
    (re.compile(r"\b(Bearer|Basic) +(?=\S*[A-Z0-9=])[\w.~+/=-]{6,}"), rf"\1 {MASK}"),
)

_secrets: dict[str, None] = {}  # in order of arrival
_known: tuple[str, ...] = ()  # longest first, so that no part of a secret is left standing
_lock = threading.Lock()


def mask(secret: str) -> None:
    """Never again write `secret`, nor any part of it that could show up alone. Cheap when it is known already.

    Libraries quote, escape and take URLs apart before they log them, so those forms are registered as well.
    """
    global _known  # noqa: PLW0603 - secrets are a property of the process: what one part reads another may log
    if secret in _secrets:
        return
    forms = {secret, *secret.splitlines()}
    with suppress(ValueError):
        parts = urlsplit(secret)
        if parts.scheme and parts.netloc:  # a webhook: urllib3 writes its path apart from its host
            tail = f"{parts.path}?{parts.query}".rstrip("?")
            forms |= {parts.password or "", tail if len(tail) >= _SHORTEST_PATH else ""}
    forms |= {quote(each, safe="", errors="replace") for each in forms} | {
        quote_plus(each, errors="replace") for each in forms
    }
    forms |= {json.dumps(form)[1:-1] for form in forms} | {repr(form)[1:-1] for form in forms}
    with _lock:
        _secrets.update(dict.fromkeys(sorted(form for form in forms if len(form) >= _SHORTEST)))
        for oldest in list(_secrets)[: -_MOST or None]:
            del _secrets[oldest]
        _known = tuple(sorted(_secrets, key=len, reverse=True))


def masked(text: str) -> str:
    """Return `text` with every known secret, and all that looks like one, replaced by `***`."""
    for secret in _known:
        text = text.replace(secret, MASK)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def printable(text: str) -> str:
    r"""Replace control characters, line separators and characters that change the direction of the text.

    >>> printable("a\u202eb\n")
    'a�b�'
    """
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
