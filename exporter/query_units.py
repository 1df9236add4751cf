"""The unit of a query's result, read from the names of its metrics: what a text may write after a number.

It is a guess for people, never a reason to decide anything: where it is not sure, a number has no unit.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from exporter.promql import bare_selector

Kind = Literal["", "bytes", "seconds", "ratio", "count", "timestamp", "number"]
Unit = Literal["", "bytes", "bytes per second", "seconds", "ratio"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a query returns.

    Parameters
    ----------
    kind : str
        "" where it is unknown, "number" for a constant.
    per_second : bool
        It is the increase in a second.
    signed : bool
        It may be negative.
    value : float
        Of a constant.
    """

    kind: Kind = ""
    per_second: bool = False
    signed: bool = False
    value: float = 0.0

    @property
    def unit(self) -> Unit:
        """What to write after a number."""
        if self.kind == "bytes":
            return "bytes per second" if self.per_second else "bytes"
        return self.kind if self.kind in {"seconds", "ratio"} and not self.per_second else ""

    @property
    def never_negative(self) -> bool:
        """Whether the value cannot be below 0."""
        return self.kind not in {"", "number"} and not self.signed


UNKNOWN: Final = Quantity(signed=True)
_NUMBER: Final = r"(?:0x[0-9a-fA-F]+|[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)"
_NAME: Final = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_STRING: Final = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)"""
_LEFT_OUT: Final = (
    rf"{_STRING}",
    r"#[^\n]*",
    r"\{[^{}]*\}",
    r"\[[^\[\]]*\]",
    r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)",
    r"\b(?:group_left|group_right|bool)\b",
    r"\boffset\s+-?[0-9a-z]+",
    r"@\s*(?:start\(\)|end\(\)|[0-9.]+)",
)
"""What says nothing on the unit, in the order in which it is taken out."""
_TOKEN: Final = re.compile(rf"\s*({_NUMBER}|{_NAME}|==|!=|<=|>=|[-+*/%^<>(),])")
_STRENGTH: Final = {
    **dict.fromkeys(("or",), 1),
    **dict.fromkeys(("and", "unless"), 2),
    **dict.fromkeys(("==", "!=", "<=", ">=", "<", ">"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%", "atan2"), 5),
    "^": 6,
}
_KEEP: Final = frozenset(
    {
        *("sum", "min", "max", "avg", "topk", "bottomk", "quantile", "scalar", "vector", "increase"),
        *("abs", "ceil", "floor", "round", "clamp", "clamp_min", "clamp_max", "sort", "sort_desc"),
        *("avg_over_time", "max_over_time", "min_over_time", "last_over_time", "sum_over_time", "quantile_over_time"),
        *("label_replace", "label_join", "histogram_quantile", "histogram_avg"),
    }
)
"""Functions whose result has the unit of their argument; of several arguments it is the one that is not a number."""
_COUNT: Final = frozenset(["count", "count_values", "count_over_time", "group"])
_SUFFIX: Final[dict[str, Kind]] = {"bytes": "bytes", "seconds": "seconds", "ratio": "ratio"}


@lru_cache(maxsize=1024)
def quantity_of(expr: str, rate: bool = False) -> Quantity:
    """Return what a query returns; with `rate`, the bare selector of a counter stands for its rate.

    >>> quantity_of('node_memory_MemAvailable_bytes{job="node"}').unit
    'bytes'
    >>> quantity_of("sum by (pod) (rate(container_network_receive_bytes_total[5m]))").unit
    'bytes per second'
    >>> quantity_of('1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))').unit
    'ratio'
    >>> quantity_of("rate(api_seconds_sum[5m]) / rate(api_seconds_count[5m])").unit
    'seconds'
    >>> quantity_of("deriv(disk_free_bytes[1h])").never_negative
    False
    >>> quantity_of("8 * rate(node_network_receive_bytes_total[5m])").unit
    ''
    """
    name = bare_selector(expr)
    if name is not None:
        found = _of_metric(name)
        return replace(found, per_second=True) if rate and name.endswith("_total") else found
    for what in _LEFT_OUT:
        expr = re.sub(what, " ", expr, flags=re.DOTALL)
    tokens = _tokens(expr)
    if tokens is None:
        return UNKNOWN
    try:
        found, rest = _binary(tokens, 1)
    except (IndexError, ValueError, RecursionError):
        return UNKNOWN
    return UNKNOWN if rest else found


def _tokens(expr: str) -> Sequence[str] | None:
    tokens, at, expr = [], 0, expr.strip()
    while at < len(expr):
        match = _TOKEN.match(expr, at)
        if match is None:
            return None
        tokens.append(match[1])
        at = match.end()
    return tokens


def _binary(tokens: Sequence[str], least: int) -> tuple[Quantity, Sequence[str]]:
    """Return the quantity of operators at least so strong, and the tokens after them."""
    left, rest = _operand(tokens)
    while rest and (strength := _STRENGTH.get(rest[0].lower(), 0)) >= least:
        right, after = _binary(rest[1:], strength + 1)
        left, rest = _combined(rest[0].lower(), left, right), after
    return left, rest


def _operand(tokens: Sequence[str]) -> tuple[Quantity, Sequence[str]]:
    first, rest = tokens[0], tokens[1:]
    if first in {"+", "-"}:
        found, rest = _operand(rest)
        negative = first == "-"
        return replace(found, signed=found.signed or negative, value=-found.value if negative else found.value), rest
    if first == "(":
        found, rest = _binary(rest, 1)
        return found, _after(rest, ")")
    if re.fullmatch(_NUMBER, first):
        return Quantity("number", value=float(int(first, 16) if first[:2].lower() == "0x" else first)), rest
    if not re.fullmatch(_NAME, first):
        raise ValueError(first)
    if rest and rest[0] == "(":
        return _call(first.lower(), rest[1:])
    return _of_metric(first), rest


def _call(function: str, tokens: Sequence[str]) -> tuple[Quantity, Sequence[str]]:
    arguments = []
    while tokens[0] != ")":
        if tokens[0] == ",":  # also where a string was left out
            tokens = tokens[1:]
            continue
        found, tokens = _binary(tokens, 1)
        arguments.append(found)
    rest = tokens[1:]
    of = next((each for each in arguments if each.kind != "number"), Quantity("number") if arguments else UNKNOWN)
    if function in _COUNT:
        return Quantity("count"), rest
    if function in {"time", "timestamp"}:
        return Quantity("timestamp"), rest
    if function in {"rate", "irate"}:
        return replace(of, per_second=True) if of.kind else UNKNOWN, rest
    if function == "deriv":
        return replace(of, per_second=True, signed=True), rest
    if function in {"delta", "idelta", "predict_linear"}:
        return replace(of, signed=True), rest
    if function.startswith("histogram_"):
        of = replace(of, per_second=False)
    return of if function in _KEEP else UNKNOWN, rest


def _after(tokens: Sequence[str], expected: str) -> Sequence[str]:
    if tokens[0] != expected:
        raise ValueError(tokens[0])
    return tokens[1:]


def _of_metric(name: str) -> Quantity:
    if name.endswith("_timestamp_seconds"):
        return Quantity("timestamp")
    if name.endswith("_count"):
        return Quantity("count")
    whole = re.sub(r"_(?:total|sum|bucket)$", "", name)
    if kind := _SUFFIX.get(re.split(r"[_:]", whole)[-1]):
        return Quantity(kind)
    return Quantity("count") if name.endswith("_total") else UNKNOWN


def _combined(operator: str, left: Quantity, right: Quantity) -> Quantity:
    """Return the quantity of `left operator right`."""
    same = (left.kind, left.per_second) == (right.kind, right.per_second)
    number = right if right.kind == "number" else left if left.kind == "number" else None
    other = left if number is right else right
    if operator in {"+", "-"}:
        return _sum(operator, left, right, number, other)
    if operator in {"*", "/"}:
        return _quotient(operator, left, right, same) if number is None else _multiple(operator, left, number, other)
    if operator in {"^", "%", "atan2"} or (operator == "or" and number is None and not same):
        return UNKNOWN
    return left if number is None else other


def _multiple(operator: str, left: Quantity, number: Quantity, other: Quantity) -> Quantity:
    """Return the quantity of a product or quotient with a constant, which mostly stands for another unit."""
    if other.kind == "number":
        return Quantity("number", value=left.value * number.value) if operator == "*" else UNKNOWN
    if number.value == 1 and not (operator == "/" and number is left):
        return other
    return Quantity("count") if other.never_negative and number.value > 0 else UNKNOWN


def _sum(operator: str, left: Quantity, right: Quantity, number: Quantity | None, other: Quantity) -> Quantity:
    if number is not None:
        of_time = other.kind == "seconds" and other.per_second  # seconds in a second are a share
        if operator == "-" and number is left and number.value == 1 and (other.kind == "ratio" or of_time):
            return Quantity("ratio", signed=other.signed)
        return replace(other, signed=other.signed or operator == "-")
    if left.kind == "timestamp":  # many times of an event are called only _seconds
        return Quantity("seconds") if operator == "-" and right.kind in {"timestamp", "seconds"} else UNKNOWN
    return left if (left.kind, left.per_second) == (right.kind, right.per_second) else UNKNOWN


def _quotient(operator: str, left: Quantity, right: Quantity, same: bool) -> Quantity:
    """Return the quantity of a product or quotient of two quantities."""
    if operator == "*":
        return right if left.kind == "ratio" else left if right.kind == "ratio" else UNKNOWN
    signed = left.signed or right.signed
    if same and left.kind not in {"", "number", "timestamp"}:
        return Quantity("ratio", signed=signed)
    if right.kind == "count" and left.kind in {"bytes", "seconds"} and left.per_second == right.per_second:
        return Quantity(left.kind, signed=signed)  # a mean
    if (left.kind, right.kind) == ("bytes", "seconds") and left.per_second == right.per_second:
        return Quantity("bytes", per_second=True, signed=signed)
    return UNKNOWN
