"""PromQL text: of the configuration, of labels and of queries that people type."""

from exporter import promql
from exporter.config.values import balanced

OURS = (ValueError,)
SEEDS = (
    b'http_requests_total{path=~"/a{2}|b",job!="x"}',
    b'sum by (job) (rate(a_total{code="5",env=`x`}[5m])) / on (job) group_left (b) sum(rate({__name__="a"}[5m] offset 1m))',
    b'{"my.metric", \'a.b\'="c"}',
    b"1 - avg without (cpu) (node_cpu) # comment\n",
    b'a{' + b'b="c",' * 300 + b"!",
    b"by(" * 400,
    b"{" + b"  ," * 400,
)  # fmt: skip


def read(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    balanced(text)
    for name, labels in promql.metrics(text).items():
        promql.selector(name, **{each: value for each, value in labels.items() if each})
    name = promql.bare_selector(text)
    rate = promql.as_rate(text, 300)
    assert (rate == text) == (name is None)
    literal = promql.quote(text)
    assert promql.bare_selector(f"up{{a={literal}}}") == "up"
