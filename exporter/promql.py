"""PromQL text: quoting label values, recognising a bare selector, turning a counter into a rate."""

import re
from typing import Final

_NAME: Final = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL: Final = r"[a-zA-Z_][a-zA-Z0-9_]*"
_STRING: Final = r"""(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)"""
_MATCHER: Final = (
    rf"(?:(?P<label>{_LABEL}|{_STRING})\s*(?P<op>=~|!~|!=|=)\s*(?P<value>{_STRING})|(?P<quoted>{_STRING}))"
)
_ANONYMOUS: Final = re.sub(r"\?P<\w+>", "?:", _MATCHER)
_SELECTOR: Final = re.compile(
    rf"\s*(?P<name>{_NAME})?\s*(?:\{{\s*(?P<matchers>(?:{_ANONYMOUS}\s*(?:,\s*|(?=\}})))*)\}}\s*)?", re.DOTALL
)
_EACH: Final = re.compile(_MATCHER, re.DOTALL)
_WORD: Final = re.compile(
    r"#[^\n]*"
    rf"|\b(?:by|without|on|ignoring|group_left|group_right)\s*\((?:[^)\"'`]|{_STRING})*\)"
    r"|\[[^\]]*\]"
    r"|\b\d[\w.]*"
    rf"|(?P<name>{_NAME})(?![\w:]|\s*\(|\s+(?:by|without)\b)\s*(?:\{{(?P<matchers>(?:{_ANONYMOUS}|[\s,])*)\}})?"
    rf"|{_NAME}"
    rf"|\{{(?P<unnamed>(?:{_ANONYMOUS}|[\s,])*)\}}"
    rf"|{_STRING}",
    re.IGNORECASE,
)
"""A part of an expression: only selectors of metrics have the group `name` or `unnamed`."""
_KEYWORDS: Final = frozenset({"and", "or", "unless", "offset", "bool", "atan2", "inf", "nan", "start", "end"})
_RESERVED: Final = frozenset({"atan2", "bool", "group_left", "group_right", "ignoring", "inf", "nan", "on"})
_UNITS: Final = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}  # in milliseconds
_SHORT: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quote(value: str) -> str:
    r"""Write `value` as a PromQL string literal that means exactly `value`.

    Raises ValueError for text that is no Unicode (lone surrogates).

    >>> quote('a"} or vector(1) #')
    '"a\\"} or vector(1) #"'
    """
    value.encode()
    return '"' + "".join(map(_escape, value)) + '"'


def _escape(char: str) -> str:
    # Prometheus takes a genuine U+FFFD in a literal for broken UTF-8
    if char in _SHORT or (char.isprintable() and char != "\ufffd"):
        return _SHORT.get(char, char)
    return f"\\U{ord(char):08x}"


def label_name(name: str) -> str:
    """Write the name of a label: as it is, or quoted where only Prometheus 3 knows it.

    Raises ValueError for a name that no label can have.

    >>> f"sum by ({label_name('job')}, {label_name('service.name')}) (up)"
    'sum by (job, "service.name") (up)'
    """
    if not name:
        raise ValueError(f"{name!r} is not a label name")
    return name if re.fullmatch(_LABEL, name) else quote(name)


def selector(metric: str, /, **labels: str) -> str:
    """Write the selector of `metric` with the given labels. Raises ValueError for an impossible label name.

    A metric that only Prometheus 3 knows is chosen by `__name__`, which every server understands.

    >>> selector("up", job="node", instance="a:9100")
    'up{job="node",instance="a:9100"}'
    """
    matchers = [f"{label_name(label)}={quote(value)}" for label, value in labels.items()]
    if not re.fullmatch(_NAME, metric) or metric.lower() in _RESERVED:
        matchers.insert(0, f"__name__={quote(metric)}")
        metric = ""
    return metric + ("{" + ",".join(matchers) + "}" if matchers else "")


def bare_selector(expr: str) -> str | None:
    """Return the metric's name if `expr` is nothing but an instant selector of one metric, else None.

    >>> bare_selector('http_requests_total{path=~"/a{2}|b"}')
    'http_requests_total'
    >>> bare_selector("rate(http_requests_total[5m])") is None
    True
    """
    match = _SELECTOR.fullmatch(expr)
    if match is None or (match["name"] or "").lower() in {"inf", "nan"}:  # these two are numbers
        return None
    names = [match["name"]] if match["name"] else []
    for each in _EACH.finditer(match["matchers"] or ""):
        if each["quoted"]:
            names.append(each["quoted"][1:-1])
        elif _bare(each["label"]) == "__name__":
            names.append(each["value"][1:-1] if each["op"] == "=" else "")
    return names[0] if len(names) == 1 and names[0] and "\\" not in names[0] else None


def metrics(expr: str) -> dict[str, dict[str, str]]:
    """Return the labels that every selector of a metric asks for with `=`, by the names of the metrics in `expr`.

    Metrics that are chosen by a pattern of their name are left out.

    >>> metrics('sum by (job) (rate(a_total{code="5",env="x"}[5m])) / sum(rate(a_total{env="x"}[5m])) > on (job) b')
    {'a_total': {'env': 'x'}, 'b': {}}
    """
    found: dict[str, dict[str, str]] = {}
    for word in _WORD.finditer(expr):
        name, asked = word["name"], {}
        for each in _EACH.finditer(word["matchers"] or word["unnamed"] or ""):
            if each["quoted"]:
                name = _unquoted(each["quoted"])
            elif _bare(each["label"]) == "__name__":
                name = _unquoted(each["value"]) if each["op"] == "=" else None
            elif each["op"] == "=":
                asked[_bare(each["label"])] = _unquoted(each["value"])
        if name and name.lower() not in _KEYWORDS:
            before = found.get(name, asked)
            found[name] = {label: value for label, value in asked.items() if before.get(label) == value}
    return found


def _bare(label: str) -> str:
    """Return what the name of a label means, which may be quoted."""
    return label if re.fullmatch(_LABEL, label) else _unquoted(label)


def _unquoted(literal: str) -> str:
    """Return what a PromQL string literal means; other escapes than those of quotes and backslashes stay."""
    return literal[1:-1] if literal[0] == "`" else re.sub(r"\\([\\'\"])", r"\1", literal[1:-1])


def as_rate(expr: str, span_seconds: float) -> str:
    """Turn a bare selector into its `rate()` over `span_seconds`; anything else comes back as it was.

    >>> as_rate('node_cpu_seconds_total{mode="idle"}', 300)
    'rate(node_cpu_seconds_total{mode="idle"}[5m])'
    >>> as_rate("a_total - b_total", 300)
    'a_total - b_total'
    """
    return expr if bare_selector(expr) is None else f"rate({expr.strip()}[{format_duration(span_seconds)}])"


def format_duration(seconds: float) -> str:
    """Write seconds in the largest units Prometheus understands.

    >>> format_duration(5400)
    '1h30m'
    """
    parts, rest = [], round(seconds * 1000)
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
