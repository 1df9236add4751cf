"""The panels of the dashboard *Anomalies*: the fleet, one entity, groups and jobs."""

from typing import Final

from rules.dashboards.panels import (
    AUTO,
    FULL,
    Panel,
    Variable,
    above,
    banded,
    graph,
    heat,
    number,
    rows,
    timeline,
)

_OF_JOBS: Final = '{query=~"$query"}'
_CHOSEN: Final = '{query=~"$query", $label=~"$value"}'
_ENTITY: Final = "{${entity:raw}}"
_CHANNEL: Final = '{${entity:raw}, channel="$channel"}'
_TOP: Final = f"topk(25, max_over_time(anomaly_score{_CHOSEN}[$__range] @ end()) >= 0)"
"""The entities with the highest scores in the time range; those without a score are left out."""
ENTITY: Final = "Entity $entity"
_BOUNDS: Final = ("0.3", "0.6", "1", "2", "5", "+Inf")
_FOUND: Final = f"query_result(topk(100, max_over_time(anomaly_score{_CHOSEN}[$__range]) >= 0))"
_CHANNELS: Final = '{__name__=~"anomaly_(value|expected|lower)", ${entity:raw}}'
_CLASSIC: Final = r"/^(?!__name__$)([a-zA-Z_][a-zA-Z0-9_]*)$/"
"""Names that every server takes as they are; others, such as service.name, would have to be in quotes."""
VARIABLES: Final = (
    Variable("label", "Label", f"label_names(anomaly_score{_OF_JOBS})", several=False, regex=_CLASSIC),
    Variable("value", "Value", f"label_values(anomaly_score{_OF_JOBS}, $label)"),
    Variable("entity", "Entity, most anomalous first", _FOUND, several=False, regex=r"/\{(.*)\} /"),
    Variable("channel", "Channel", f"label_values({_CHANNELS}, channel)", several=False),
)
"""They select one entity and channel of the fleet."""
INCIDENTS: Final = f"anomaly_flag{_ENTITY} == 1"
"""Where the incidents of the selected entity are."""
DEPLOYS: Final = "(time() - anomaly_exporter_deploy_timestamp_seconds < 300) > 0"
"""Where the deploys are; the newest is known two minutes after it happened."""


def shown() -> dict[str, list[Panel]]:
    """Return the panels by heading; the widths of a row add up to the full width."""
    return {"Fleet": _fleet(), ENTITY: _entity(), "Groups and jobs": _jobs()}


def _fleet() -> list[Panel]:
    now = f"0 + anomaly_score{_CHOSEN} and {_TOP}"
    severity = f"0 + anomaly_severity{_CHOSEN} and {_TOP}"
    return [
        number("Alerts", "Incidents rare enough for the budget.", (f"sum(anomaly_alert{_CHOSEN})", ""), bad=1),
        number("Open incidents", "All open incidents, whether they are alerts or not.",
               (f"sum(anomaly_flag{_CHOSEN})", "")),
        number("Flapping", "Incidents held open because they come and go.", (_sum_or_none("anomaly_flapping"), "")),
        number("Anomalous groups", "Groups whose score is above 1.",
               (f"sum(anomaly_group_score{_OF_JOBS} > bool 1)", "")),
        number("Evaluated", "Entities that have a score.", (f"count(anomaly_score{_CHOSEN} >= 0)", "")),
        number("Not evaluated", "Entities without a score (NaN). They may be unhealthy.", (_without_verdict(), "")),
        heat("Scores of the fleet", "Number of entities by score; above 1 is anomalous.", (_counts(), "{{le}}"),
             buckets=True),
        heat("Most anomalous entities", "Red is a score above 1.",
             (f"anomaly_score{_CHOSEN} and {_TOP}", AUTO), buckets=False),
        rows("Top entities", "Highest scores in the time range. Severity is that of the open incident.",
             (_TOP, "Highest score"), (now, "Score now"), (severity, "Severity"), sort="Highest score"),
        timeline("Incidents of the most anomalous entities", "Red means that an incident is open.",
                 (f"anomaly_flag{_CHOSEN} and {_TOP}", AUTO), width=FULL),
    ]  # fmt: skip


def _entity() -> list[Panel]:
    band = graph(
        "Value and expected band", "Shaded times are incidents. The observed value is shown if `publish` has `value`.",
        *((f"anomaly_{name}{_CHANNEL}", name) for name in ("value", "expected", "lower", "upper")), width=FULL,
    )  # fmt: skip
    ends = (
        (f"anomaly_forecast_reaches_limit{end}_timestamp_seconds{_ENTITY} - time() < Inf", name)
        for end, name in (("_early", "early"), ("", "most likely"), ("_late", "late"))
    )
    text = (
        "How long until the limit, in jobs with `forecast`: 9 of 10 times between early and late. Below 0: it is there."
    )
    ahead = graph("Until the limit", text, *ends, unit="s", width=FULL)
    states = ((f"anomaly_{name}{_ENTITY}", name) for name in ("flag", "alert", "flapping"))
    return [
        banded(band, "lower", "upper"),
        above(graph("Score", "A score above 1 is anomalous.", (f"anomaly_score{_ENTITY}", "score")), 1),
        graph("Severity", "Severity grows while the incident is open.", (f"anomaly_severity{_ENTITY}", "severity")),
        graph("Contribution", "Share of each channel in the open incident.",
              (f"anomaly_contribution{_ENTITY}", "{{channel}}"),
              stacked=True, unit="percentunit"),
        timeline("Incident, alert, flapping", "Red means yes.", *states, width=FULL),
        banded(ahead, "early", "late"),
    ]  # fmt: skip


def _jobs() -> list[Panel]:
    opened = 'increase(anomaly_exporter_flag_changes_total{query=~"$query", to="open"}[1h])'
    return [
        above(graph("Group scores", "Above 1, more members have an incident at once than chance explains.",
                    (f"topk(20, anomaly_group_score{_OF_JOBS})", AUTO), width=12), 1),
        graph("Share of entities with an incident",
              "Near 1, the incidents have a common cause, or the job does not suit its data.",
              (f"max by (query) (anomaly_exporter_flagged_ratio{_OF_JOBS})", "{{query}}"), width=12,
              unit="percentunit"),
        graph("Incidents opened within an hour", "If there are many short ones, raise least_deviation or open_after.",
              (f"sum by (query) ({opened})", "{{query}}")),
        graph("Flapping by job", "If there are often some, raise clear_after or least_deviation.",
              (f"count by (query) (anomaly_flapping{_CHOSEN})", "{{query}}")),
        graph("Contribution by channel", "Open incidents by the channel that deviates; 1 is one whole incident.",
              (f"sum by (query, channel) (anomaly_contribution{_CHOSEN})", "{{query}} {{channel}}"), stacked=True),
    ]  # fmt: skip


def _counts() -> str:
    """Return cumulative counts by upper bound, as in a histogram; entities without a score are not counted."""
    counts = (f'label_replace(sum(anomaly_score{_CHOSEN} <= bool {at}), "le", "{at}", "", "")' for at in _BOUNDS)
    return "\nor ".join(counts)


def _sum_or_none(metric: str) -> str:
    """Return the sum of a metric that only some entities have: 0 if none has it, absent if nothing is scraped."""
    return f"sum({metric}{_CHOSEN}) or 0 * sum(anomaly_flag{_CHOSEN})"


def _without_verdict() -> str:
    return f"count(anomaly_score{_CHOSEN}) - (count(anomaly_score{_CHOSEN} >= 0) or 0 * count(anomaly_score{_CHOSEN}))"
