"""Text for Prometheus' rule templates, in which `{{` begins an action."""

from collections.abc import Iterable
from typing import Final

from exporter.source.promql import quote

_SELECTOR: Final = (
    '{{ $s := "" }}{{ range $k, $v := $labels }}'
    '{{ if ne $k "__name__" }}{{ $s = printf "%s%s=%q," $s $k $v }}{{ end }}{{ end }}'
)
"""Sets `$s` to the matchers that find the alert's own series under another metric name."""


def plain(text: str) -> str:
    """Return a template that renders as `text`, whatever it holds and whatever template follows it."""
    return "{{ " + quote(text) + " }}" if "{" in text else text


def entity() -> str:
    """Return a template that renders as ` name=value` for each label of the series, without those that we add."""
    ours = " ".join(f'(ne $k "{label}")' for label in ("__name__", "query", "detector"))
    return "{{ range $k, $v := $labels }}{{ if and " + ours + " }} {{ $k }}={{ $v }}{{ end }}{{ end }}"


def readings(metrics: Iterable[tuple[str, str]]) -> str:
    """Return a template that renders as `word number, …` for each (word, metric) published beside the score.

    A job of several channels has one number per channel; a metric that is not there leaves nothing behind.
    """
    parts = (
        "{{ range query (printf " + quote(metric + "{%s}") + " $s) }}"
        "{{ with .Labels.channel }}{{ . }} {{ end }}" + word + " {{ .Value | printf `%.4g` }}, {{ end }}"
        for word, metric in metrics
    )
    return _SELECTOR + "".join(parts)
