"""PromQL of somebody who is not trusted: small enough to be parsed, and limited to the series of one tenant."""

from typing import Any, Final

import promql_parser as promql

from exporter.promql import label_name, quote
from exporter.promql_split import nesting, nodes, parsed, with_matcher

LONGEST: Final = 8_000
"""Characters of an expression, before and after the matchers."""
DEEPEST: Final = 30
"""Brackets within brackets."""
MOST_OPERATORS: Final = 60
"""Operators outside of matchers. Work grows with their square."""
_WRITE_A_LABEL: Final = frozenset({"label_replace", "label_join"})


def require_small(expr: str) -> None:
    """Raise ValueError where a parser might need too much memory, time or stack for `expr`. Parses nothing itself."""
    if len(expr) > LONGEST:
        raise ValueError(f"has {len(expr):,} characters; a declared job may have {LONGEST:,}")
    deepest, operators = nesting(expr)
    if deepest > DEEPEST:
        raise ValueError(f"has {deepest} brackets within brackets; a declared job may have {DEEPEST}")
    if operators > MOST_OPERATORS:
        raise ValueError(f"has {operators} operators; a declared job may have {MOST_OPERATORS}")


def of_tenant(expr: str, label: str, tenant: str) -> str:
    """Return `expr` with `label="tenant"` in every selector, so that it reads and makes no series of another tenant.

    Raises ValueError where that cannot be made sure, or where the expression asks for another tenant.

    >>> of_tenant("sum by (pod) (rate(a[5m])) / b", "namespace", "shop")
    'sum by (pod) (rate(a{namespace="shop"}[5m])) / b{namespace="shop"}'
    """
    require_small(expr)
    tree = parsed(expr)
    if tree is None:
        raise ValueError(
            "cannot be read as PromQL, so it is not known whose series it asks for; a function that only one kind of "
            "server knows is such a case"
        )
    for node in nodes(tree):
        _refuse(node, label, tenant)
    made = with_matcher(expr, f"{label_name(label)}={quote(tenant)}")
    if len(made) > LONGEST:
        raise ValueError("is too long once every selector is limited to its namespace; split it into channels or jobs")
    if not all(_is_of(node, label, tenant) for node in nodes(parsed(made))) or _selectors(made) != _selectors(expr):
        raise ValueError("cannot be limited to the series of its namespace; write it in another way")
    return made


def _refuse(node: Any, label: str, tenant: str) -> None:
    """Raise ValueError where a node would read or make series of another tenant, matcher or not."""
    if isinstance(node, promql.VectorSelector):
        if node.matchers.or_matchers:
            raise ValueError("has `or` within braces, which cannot be limited to one namespace; use `or` between two")
        for each in node.matchers.matchers:
            if each.name == label and each.op == promql.MatchOp.Equal and each.value != tenant:
                raise ValueError(
                    f"asks for {label}={quote(each.value)}: jobs declared in the namespace {tenant} see "
                    f"{label}={quote(tenant)} alone; leave the label out"
                )
    written = None
    if isinstance(node, promql.Call):
        if node.func.name == "info":
            raise ValueError("uses info(), which reads series that no selector names")
        if node.func.name in _WRITE_A_LABEL:
            written = getattr(node.args[1], "val", label)
    if isinstance(node, promql.AggregateExpr) and str(node.op) == "count_values":
        written = getattr(node.param, "val", label)
    if written == label:
        raise ValueError(f"writes the label {label}, which says whose series these are")


def _is_of(node: Any, label: str, tenant: str) -> bool:
    if not isinstance(node, promql.VectorSelector):
        return True
    return not node.matchers.or_matchers and any(
        each.name == label and each.op == promql.MatchOp.Equal and each.value == tenant
        for each in node.matchers.matchers
    )


def _selectors(expr: str) -> int:
    return sum(isinstance(node, promql.VectorSelector) for node in nodes(parsed(expr)))
