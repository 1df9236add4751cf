"""Templates of Prometheus rules, in which `{{` begins an action, each with its result in a test."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus

from exporter.incident_wording import BETWEEN
from exporter.label_names import is_classic
from exporter.promql import label_name, quote

INCIDENT: Final = "anomaly_incident"
"""Label of an alert that says which joint incident it belongs to."""
ADDED: Final = frozenset({"alertgroup", "alertname", "alertstate", INCIDENT})
"""Labels that Prometheus, vmalert or a rule adds to an alert; vmalert has them in `$labels` and `ALERTS` too."""
LOOKED_BACK: Final = "1d"
"""How old a reading may be while there are no new results."""


_QUOTED: Final = r'{{ $n := $k }}{{ if match "\\W|^\\d" $k }}{{ $n = printf "%q" $k }}{{ end }}'
"""Sets `$n` to the label `$k` as a matcher names it: in quotes where only Prometheus 3 knows such a name."""


def then() -> str:
    """Return what comes before a sentence: nothing before the first one."""
    return "{{ $next }}{{ $next = " + quote(BETWEEN) + " }}"


def selector_of(ours: Collection[str]) -> str:
    """Return a template that sets `$s` to the matchers that select the series of the alert under another metric name.

    `ours` are the labels that the rule itself sets: in vmalert, `$labels` holds them too, and no series has them.
    """
    named = _is_of_series({"__name__", *ours})
    return (
        '{{ $s := "" }}{{ range $k, $v := $labels }}'
        "{{ if " + named + " }}" + _QUOTED + '{{ $s = printf "%s%s=%q," $s $n $v }}{{ end }}{{ end }}'
    )


def _is_of_series(others: Collection[str]) -> str:
    """Return the condition that the label `$k` is none of `others`, nor set by Prometheus or vmalert."""
    return "and " + " ".join(f'(ne $k "{name}")' for name in sorted(ADDED.union(others)))


@dataclass(frozen=True, slots=True)
class Text:
    """A text of an alert.

    Parameters
    ----------
    template : str
        Text of the rule.
    example : str
        Result for the series of the test of the alert.
    """

    template: str
    example: str

    def __add__(self, other: "Text | str") -> "Text":
        other = literal(other) if isinstance(other, str) else other
        return Text(self.template + other.template, self.example + other.example)


def literal(text: str) -> Text:
    """Return a Text that renders as `text` exactly, between any templates."""
    return Text(plain(text), text)


def plain(text: str) -> str:
    """Return a template that renders as `text` exactly, before any template."""
    return "{{ " + quote(text) + " }}" if "{" in text else text


def label_value(name: str) -> str:
    """Return a label as a template names it: by `index` where only Prometheus 3 knows such a name."""
    return f"$labels.{name}" if is_classic(name) else f"(index $labels {quote(name)})"


def label(name: str, series: Mapping[str, str]) -> Text:
    """Return the value of a label."""
    return Text("{{ " + label_value(name) + " }}", series.get(name, ""))


def entity(series: Mapping[str, str], ours: Collection[str]) -> Text:
    """Return ` name=value` for each label of the series, without those that the exporter or the rule (`ours`) adds."""
    added = {"__name__", "query", "detector", *ours}
    shown = "".join(f" {name}={series[name]}" for name in sorted(series) if name not in added)
    named = _is_of_series(added)
    return Text("{{ range $k, $v := $labels }}{{ if " + named + " }} {{ $k }}={{ $v }}{{ end }}{{ end }}", shown)


def picked(metrics: Mapping[str, str], channel: str | None = None, *, there: bool = False) -> str:
    """Return a template that sets variables, by name, to the values of metrics in the query result `$r`, or else to 0.

    With `there`, `$NAME_there` tells whether there is a value.
    """
    before = "".join(
        "{{ $" + name + " := 0.0 }}" + ("{{ $" + name + "_there := false }}" if there else "") for name in metrics
    )
    chosen = "{{ else if ".join(
        f'eq .Labels.__name__ "{metric}"'
        + " }}{{ $" + name + " = .Value }}" + ("{{ $" + name + "_there = true }}" if there else "")
        for name, metric in metrics.items()
    )  # fmt: skip
    each = "{{ if " + chosen + "{{ end }}"
    if channel is not None:
        each = "{{ if eq .Labels.channel " + quote(channel) + " }}" + each + "{{ end }}"
    return before + "{{ range $r }}" + each + "{{ end }}"


def matchers(series: Mapping[str, str]) -> str:
    """Return the value of `$s` for a series."""
    return "".join(f"{label_name(name)}={quote(series[name])}," for name in sorted(series) if name != "__name__")


def graph_link(expr: str, series: Mapping[str, str], ours: Collection[str]) -> Text:
    """Return the path of a graph of `expr`, in which `%s` is replaced by the matchers of a series.

    Prometheus has `graphLink` for it; vmalert loads no rule that calls it.
    """
    link = "/graph?g0.expr={{ printf " + quote(expr) + " $s | urlquery }}&g0.tab=0"
    return Text(selector_of(ours) + link, graph_path(expr.replace("%s", matchers(series))))


def dashboard_choice(series: Mapping[str, str], ours: Collection[str]) -> Text:
    """Return the part of a link to the dashboard that chooses the entity of a series."""
    example = "&var-entity=" + quote_plus(matchers(series).removesuffix(","))
    return Text(selector_of(ours) + '&var-entity={{ reReplaceAll ",$" "" $s | urlquery }}', example)


def page_link(pages: str, series: Mapping[str, str], ours: Collection[str]) -> Text:
    """Return the address of the page of a series; `pages` is that of all pages of the exporter."""
    added = {"__name__", "query", "detector", *ours}
    name = 'reReplaceAll "^exported_(query|detector|channel)$" "${1}" $n'
    matched = (
        '{{ $m := "" }}{{ $c := "" }}{{ range $k, $v := $labels }}{{ if ' + _is_of_series(added) + " }}" + _QUOTED + ""
        '{{ $m = printf "%s%s%s=%q" $m $c (' + name + ') $v }}{{ $c = "," }}{{ end }}{{ end }}'
    )
    link = "/series?job={{ urlquery $labels.query }}{{ with $m }}&match={{ urlquery . }}{{ end }}"
    match = ",".join(f"{label_name(name)}={quote(series[name])}" for name in sorted(series) if name not in added)
    example = f"/series?job={quote_plus(series['query'])}" + (f"&match={quote_plus(match)}" if match else "")
    return Text(matched, "") + literal(pages) + Text(link, example)


def graph_path(expr: str) -> str:
    """Return the path of a graph of an expression."""
    return f"/graph?g0.expr={quote_plus(expr)}&g0.tab=0"
