"""Text for Prometheus' rule templates, in which `{{` begins an action, together with what it becomes in a test."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus

from exporter.promql import quote

SELECTOR: Final = (
    '{{ $s := "" }}{{ range $k, $v := $labels }}'
    '{{ if ne $k "__name__" }}{{ $s = printf "%s%s=%q," $s $k $v }}{{ end }}{{ end }}'
)
"""Sets `$s` to the matchers that find the alert's own series under another metric name."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text of an alert.

    Parameters
    ----------
    template : str
        What stands in the rule.
    example : str
        What Prometheus makes of it for the series of the alert's own test.
    """

    template: str
    example: str

    def __add__(self, other: "Text | str") -> "Text":
        other = literal(other) if isinstance(other, str) else other
        return Text(self.template + other.template, self.example + other.example)


def literal(text: str) -> Text:
    """Return `text` as it is, whatever it holds and whatever template stands before or behind it."""
    return Text(plain(text), text)


def plain(text: str) -> str:
    """Return a template that renders as `text`, whatever it holds and whatever template follows it."""
    return "{{ " + quote(text) + " }}" if "{" in text else text


def label(name: str, series: Mapping[str, str]) -> Text:
    """Return the value of a label."""
    return Text("{{ $labels." + name + " }}", series.get(name, ""))


def entity(series: Mapping[str, str]) -> Text:
    """Return ` name=value` for each label of the series, without those that we add."""
    added = ("__name__", "query", "detector")
    ours = " ".join(f'(ne $k "{name}")' for name in added)
    shown = "".join(f" {name}={series[name]}" for name in sorted(series) if name not in added)
    return Text("{{ range $k, $v := $labels }}{{ if and " + ours + " }} {{ $k }}={{ $v }}{{ end }}{{ end }}", shown)


def found(expr: str, then: str, example: str) -> Text:
    """Return `then`, a template in which `.` is the sample, for each sample of a query that the matchers `$s` complete.

    `expr` holds `%s` where they go.
    """
    return Text("{{ range query (printf " + quote(expr) + " $s) }}" + then + "{{ end }}", example)


def picked(word: str, metric: str, channel: str | None, example: float | None, after: str = ", ") -> Text:
    """Return `word number` from what was queried into `$r`; nothing where the metric is not there."""
    is_it = f'(eq .Labels.__name__ "{metric}")'
    if channel is not None:
        is_it = f"(and {is_it} (eq .Labels.channel {quote(channel)}))"
    return Text(
        "{{ range $r }}{{ if " + is_it + " }}" + word + " {{ .Value | printf `%.4g` }}" + after + "{{ end }}{{ end }}",
        "" if example is None else f"{word} {example:.4g}{after}",
    )


def matchers(series: Mapping[str, str]) -> str:
    """Return what `$s` is for a series."""
    return "".join(f"{name}={quote(series[name])}," for name in sorted(series) if name != "__name__")


def graph_link(expr: str, series: Mapping[str, str] | None) -> Text:
    """Return the path of a graph of `expr`; with a series, `expr` holds `%s` for its matchers."""
    if series is None:
        return Text("{{ graphLink " + quote(expr) + " }}", _graph_path(expr))
    return Text(
        SELECTOR + "{{ graphLink (printf " + quote(expr) + " $s) }}", _graph_path(expr.replace("%s", matchers(series)))
    )


def joined(texts: Iterable[Text]) -> Text:
    """Return the texts one after the other."""
    whole = Text("", "")
    for text in texts:
        whole += text
    return whole


def _graph_path(expr: str) -> str:
    return f"/graph?g0.expr={quote_plus(expr)}&g0.tab=0"
