"""A PromQL expression restricted to some values of a label, where that gives exactly those series of its answer.

Adding a matcher to every selector is sound only as long as every step of the expression keeps the label and looks at
series with one value of it at a time: `sum by (pod) (x)` may be asked for some pods, `sum(x)` may not.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import promql_parser as promql

from exporter.promql import label_name, quote

LONGEST_QUERY: Final = 15_000
"""Characters of a query with its matchers: VictoriaMetrics refuses more than 16 KiB."""
LONGEST_PATTERN: Final = 8_000
"""Characters of one regular expression; what does not fit is asked for by a further query."""
_SHORTEST_PATTERN: Final = 200
LOOKBACK: Final = 300.0
"""Seconds that a selector looks back for the newest sample."""
_REGEX: Final = re.compile(r"[\\.+*?()|\[\]{}^$]")
_OF_A_GROUP: Final = frozenset(
    {"sum", "avg", "min", "max", "count", "stddev", "stdvar", "group"}
    | {"topk", "bottomk", "quantile", "count_values", "limitk"}
)
"""Aggregations whose result for a group depends on the series of that group alone."""
_OTHERWISE: Final = frozenset(["absent", "absent_over_time", "info", "scalar", "vector"])
"""Functions that are not applied to each series by itself with its labels kept."""
_RAW: Final = re.compile(r"""#[^\n]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?P<raw>[^`]*)`""", re.DOTALL)
"""Comments and strings; the parser reads escapes in those between backquotes too, where there are none."""
_DEEPEST: Final = 200
"""Brackets within brackets and operators, together. The parser recurses without a limit, and `a+a+a` nests too: some
thousands of them end the process."""
_MATCHERS: Final = re.compile(r"\{[^{}]*\}")
_OPERATOR: Final = re.compile(r"[-+*/%^<>=!]=?|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def splits_by(expr: str, label: str) -> bool:
    """Tell whether `expr` may be asked for some values of `label` at a time, by a matcher in each of its selectors.

    >>> splits_by('sum by (pod) (rate(a[5m])) / on (pod) b', "pod"), splits_by("sum(a)", "pod")
    (True, False)
    """
    tree = parsed(expr)
    if tree is None or label == "__name__" or any(_is_scalar(node) for node in nodes(tree)):
        return False
    return _is_vector(tree) and _keeps(tree, label)


def labels_named(expr: str) -> tuple[str, ...]:
    """Return the labels by which `expr` groups or joins, by which it may be split, in their order.

    >>> labels_named('topk by (job) (3, sum by (namespace, pod, job) (a))')
    ('job',)
    """
    tree = parsed(expr)
    if tree is None:
        return ()
    named: dict[str, None] = {}
    for node in nodes(tree):
        modifier = node.modifier if isinstance(node, promql.AggregateExpr) else None
        if modifier is not None and modifier.type == promql.AggModifierType.By:
            named |= dict.fromkeys(modifier.labels)
    return tuple(label for label in named if splits_by(expr, label))


def selectors(expr: str) -> tuple[str, ...]:
    """Return the selectors of `expr` without ranges and offsets, each once.

    >>> selectors('rate(a{x="1"}[5m] offset 1h) / b')
    ('a{x="1"}', 'b')
    """
    tree = parsed(expr)
    found = (_bare(node) for node in nodes(tree) if isinstance(node, promql.VectorSelector))
    return tuple(dict.fromkeys(found))


def reach(expr: str) -> tuple[float, float]:
    """Return how many seconds before and after the asked time `expr` looks at samples, at most.

    >>> reach("rate(a[5m] offset 1h) - a offset -1m")
    (4200.0, 60.0)
    """
    back, ahead = LOOKBACK, 0.0
    for node in nodes(parsed(expr)):
        span = getattr(node, "range", None)
        back += span.total_seconds() if span is not None else 0.0
        offset = getattr(node, "offset", None)
        if offset is not None:
            back += max(offset.total_seconds(), 0.0)
            ahead += max(-offset.total_seconds(), 0.0)
    return back, ahead


def with_matcher(expr: str, matcher: str) -> str:
    """Return `expr` with a matcher in every selector.

    >>> with_matcher('1 - avg by (pod) (rate(a{m="idle"}[5m])) / b', 'pod=~"x|y"')
    '1 - avg by (pod) (rate(a{m="idle",pod=~"x|y"}[5m])) / b{pod=~"x|y"}'
    """
    tree = parsed(expr)
    if tree is None:
        return expr

    def put(node: Any) -> Any:
        return promql.parse(_inserted(node.prettify(), matcher)) if isinstance(node, promql.VectorSelector) else None

    text = str(promql.transform(tree, put).prettify()).replace("\n", " ")
    return text.replace("\ufffd", "\\ufffd")  # Prometheus takes a genuine one for broken UTF-8


def patterns(values: Iterable[str], longest: int) -> list[str]:
    r"""Return regular expressions that match exactly `values`, each with at most `longest` characters.

    A value is in the same one as before when others come or go, but for when their number doubles. One value that is
    too long has a pattern to itself.

    >>> patterns(["b.c", "a"], 100)
    ['a|b\\.c']
    """
    escaped = sorted(map(escape, values))
    if not escaped:
        return []
    count = 1
    while count < 2 * len(escaped):
        parts = _in_parts(escaped, count)
        if all(len("|".join(part)) <= longest or len(part) == 1 for part in parts):
            return ["|".join(part) for part in parts]
        count *= 2
    return escaped


def longest_pattern(expr: str) -> int:
    """Return how many characters a regular expression in every selector of `expr` may have."""
    room = (LONGEST_QUERY - len(expr)) // max(len(selectors(expr)), 1)
    return max(min(LONGEST_PATTERN, room // 2), _SHORTEST_PATTERN)  # quoting may double it


def matchers(label: str, values: Iterable[str], longest: int) -> list[str]:
    """Return matchers which together choose the series with one of `values` of `label`, each series once.

    A series without the label has the value "".
    """
    every = set(values)
    absent = [f'{label_name(label)}=""'] if "" in every else []
    return absent + [f"{label_name(label)}=~{quote(each)}" for each in patterns(every - {""}, longest)]


def escape(value: str) -> str:
    """Return a regular expression of RE2 that matches `value` alone."""
    return _REGEX.sub(r"\\\g<0>", value)


def _in_parts(escaped: Sequence[str], count: int) -> list[list[str]]:
    parts: dict[int, list[str]] = {}
    for each in escaped:
        digest = hashlib.blake2b(each.encode(), digest_size=8).digest()
        parts.setdefault(int.from_bytes(digest) % count, []).append(each)
    return [parts[at] for at in sorted(parts)]


@lru_cache(maxsize=1024)
def parsed(expr: str) -> Any:
    """Return the syntax tree, None for what the parser cannot bear or does not know, such as functions of MetricsQL."""
    if sum(nesting(expr)) > _DEEPEST:
        return None
    try:
        return promql.parse(_RAW.sub(_quoted, expr))
    except ValueError:
        return None


def nesting(expr: str) -> tuple[int, int]:
    """Return how many brackets stand within brackets, and how many operators there are; parses nothing itself."""
    bare = _MATCHERS.sub("", _RAW.sub("", expr))
    depth = deepest = 0
    for char in bare:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    return deepest, len(_OPERATOR.findall(bare))


def _quoted(found: re.Match[str]) -> str:
    return found[0] if found["raw"] is None else quote(found["raw"])


def _is_vector(node: Any) -> bool:
    """Tell whether the value of an expression has series at all."""
    match node:
        case promql.VectorSelector() | promql.MatrixSelector() | promql.AggregateExpr():
            return True
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return _is_vector(node.expr)
        case promql.BinaryExpr():
            return _is_vector(node.lhs) or _is_vector(node.rhs)
        case promql.Call():
            return node.func.name not in {"scalar", "time", "pi"}
    return False


def _is_scalar(node: Any) -> bool:
    """Tell whether a node makes one number of all its series, which a matcher would change."""
    return isinstance(node, promql.Call) and node.func.name == "scalar"


def _keeps(node: Any, label: str) -> bool:
    """Tell whether a matcher on `label` in every selector below gives the series of the whole answer with its values.

    The proof is by induction: what is said of every operand holds for what is made of them.
    """
    if isinstance(node, promql.VectorSelector):
        return node.at is None and not node.matchers.or_matchers
    if isinstance(node, promql.MatrixSelector):
        return _keeps(node.vector_selector, label)
    if isinstance(node, promql.SubqueryExpr | promql.ParenExpr | promql.UnaryExpr):
        return getattr(node, "at", None) is None and _keeps(node.expr, label)
    rules = {promql.AggregateExpr: _groups_by, promql.BinaryExpr: _joins_on, promql.Call: _of_each}
    rule = rules.get(type(node))
    return rule is not None and rule(node, label)


def _groups_by(node: Any, label: str) -> bool:
    modifier, name = node.modifier, str(node.op)
    if modifier is None or name not in _OF_A_GROUP:
        return False
    if name == "count_values" and getattr(node.param, "val", None) in {None, label}:
        return False
    if not _keeps(node.expr, label):
        return False
    return bool((label in modifier.labels) == (modifier.type == promql.AggModifierType.By))


def _joins_on(node: Any, label: str) -> bool:
    sides = [side for side in (node.lhs, node.rhs) if _is_vector(side)]
    if not all(_keeps(side, label) for side in sides):
        return False
    matching = None if node.modifier is None else node.modifier.matching
    if len(sides) < 2 or matching is None:
        return bool(sides)
    return bool((label in matching.labels) == (matching.type == promql.LabelModifierType.Include))


def _of_each(node: Any, label: str) -> bool:
    name = node.func.name
    if name in {"label_replace", "label_join"}:  # they write one label, whose name is the second argument
        if getattr(node.args[1], "val", label) == label:
            return False
    elif name in _OTHERWISE or (name == "histogram_quantile" and label == "le"):
        return False
    vectors = [argument for argument in node.args if _is_vector(argument)]
    return len(vectors) == 1 and _keeps(vectors[0], label)


def _children(node: Any) -> Iterator[Any]:
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        child = getattr(node, name, None)
        if isinstance(child, promql.Expr):
            yield child
    if isinstance(node, promql.Call):
        yield from node.args


def nodes(node: Any) -> Iterator[Any]:
    """Yield a node and all below it."""
    if node is None:
        return
    yield node
    for child in _children(node):
        yield from nodes(child)


def _bare(node: Any) -> str:
    """Return a selector without its offset."""
    text = str(node.prettify())
    return text if node.offset is None else text[: text.rindex(" offset ")]


def _inserted(text: str, matcher: str) -> str:
    """Return the canonical text of a selector with one more matcher."""
    name = _NAME.match(text)
    at = name.end() if name else 0
    if text[at : at + 1] != "{":
        return f"{text[:at]}{{{matcher}}}{text[at:]}"
    rest = text[at + 1 :]
    return f"{text[:at]}{{{matcher}{'' if rest.startswith('}') else ','}{rest}"
