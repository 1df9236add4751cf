"""The judged families: declared here once, for the page, `publish`, the JSON of the API and docs/metrics.md."""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "number", "bit", "present", "true", "shares", "groups", "incident", "deploys", "vanished", "reaches", "joint"
]


@dataclass(frozen=True, slots=True)
class Family:
    """One family of the page.

    Parameters
    ----------
    name : str
        The metric is called `anomaly_NAME`, the choice of `publish` NAME.
    help : str
        The help text on the page.
    array : str
        Field of `Verdict` that holds the values, of `Readings` where the kind is incident.
    kind : str
        Which lines there are. number: one per entity, NaN too; bit: one per entity, 0 or 1; present: where there is a
        value; true: 1 where it is true; shares: of open incidents, channels with an equal share or more; groups: one
        per group; incident: where there is a value, for incidents that are open or have just ended; joint: of the same,
        which of them are one.
    meaning : str
        What docs/metrics.md says of it.
    when_wrong : str
        What docs/metrics.md says to do when it looks wrong.
    optional : bool
        Whether `publish` of a job chooses it; else it is always there.
    per_channel : bool
        Whether each channel has a value of its own.
    json : str
        Its key in the answers of the API, in that of a channel where it is per channel; "" where it has none.
    """

    name: str
    help: str
    array: str
    kind: Kind
    meaning: str
    when_wrong: str = ""
    optional: bool = True
    per_channel: bool = False
    json: str = ""

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return f"anomaly_{self.name}"


def _of_incidents(name: str, help_text: str, array: str, meaning: str, per_channel: bool = False) -> Family:
    return Family(
        f"incident_{name}",
        help_text,
        array=array,
        kind="incident",
        optional=False,
        per_channel=per_channel,
        meaning=meaning,
        when_wrong="There only while an incident is open and 5 minutes after it, for at most 1000 incidents of a job.",
    )


def _of_forecast(end: str, help_text: str, meaning: str, when_wrong: str) -> Family:
    between = "" if end == "expected" else f"_{end}"
    return Family(
        f"forecast_reaches_limit{between}_timestamp_seconds",
        help_text,
        array=end,
        kind="reaches",
        optional=False,
        meaning=meaning,
        when_wrong=when_wrong,
    )


_FORECAST: Final = (
    _of_forecast(
        "expected",
        "When the series is expected to reach its limit, or has reached it; +Inf: not in sight",
        "When the series is as likely as not to have reached its limit (`forecast`). In the past: it has been there "
        "since. `+Inf`: not in sight, as far as four times the known past.",
        "Absent: less than a day is known of it, see `anomaly_exporter_forecast_series`; or it has no newest sample.",
    ),
    _of_forecast(
        "early",
        "When the series reaches its limit at the earliest, with a chance of 5 %",
        "The early end of the interval of 90 %: with a chance of 5 % it is there before. "
        "`AnomalyLimitNear` fires where this is within `forecast.within`.",
        "As above. Very early: the series has often moved so much at once.",
    ),
    _of_forecast(
        "late",
        "When the series reaches its limit at the latest, with a chance of 5 %",
        "The late end of the interval: with a chance of 5 % it is there after, or never.",
        "As above. `+Inf` while the others are not: it may never be reached.",
    ),
)

_INCIDENT: Final = (
    _of_incidents(
        "start_timestamp_seconds",
        "When the incident began",
        "start",
        "When the incident began. The texts of alerts are made of this and the families below.",
    ),
    _of_incidents(
        "end_timestamp_seconds",
        "When the incident ended, absent while it is open",
        "end",
        "When the incident ended. Absent while it is open.",
    ),
    _of_incidents(
        "worst_timestamp_seconds",
        "When the worst reading of the incident was",
        "at",
        "When the worst reading of the incident was: the sample with the highest score, outside its band if one was.",
    ),
    Family(
        "incident_after_deploy_seconds",
        "Seconds from a deploy of the entity's owner to the incident",
        array="deploys",
        kind="deploys",
        optional=False,
        meaning="Seconds from the newest deploy of its owner to the beginning of the incident, where it began within "
        "`deploys.within` after one; `deployed` names it. Negative: the incident was seen first.",
        when_wrong="Another owner's deploy, or none at all: see `deploys.owner`, and Status for what the source tells.",
    ),
    Family(
        "incident_moved_timestamp_seconds",
        "When the first sample of the incident left its band, and which joint incident it belongs to",
        array="since",
        kind="joint",
        optional=False,
        meaning="When the first sample left its band, which may be before the incident began. Incidents with one "
        "`anomaly_incident`, whatever their jobs, are one: they began together and share a label that few series have, "
        "or have begun together before. The id stays as long as the incident lasts, over restarts too.",
        when_wrong="Too much in one, or too little: see [context](context.md). Without `state` the id lasts as long as "
        "the first incident is open.",
    ),
    _of_incidents("score", "Score of the incident's worst reading", "score", "`anomaly_score` of the worst reading."),
    _of_incidents(
        "value",
        "Worst reading of the incident",
        "value",
        "The sample at that time. With several channels only those that were outside their band, or else the one that "
        "contributes most; so too the families below.",
        per_channel=True,
    ),
    _of_incidents(
        "expected",
        "What was expected at the worst reading",
        "expected",
        "`anomaly_expected` at that time.",
        per_channel=True,
    ),
    _of_incidents(
        "lower",
        "Lower end of the band at the worst reading",
        "lower",
        "`anomaly_lower` at that time, not below 0 where the query says that the values cannot be.",
        per_channel=True,
    ),
    _of_incidents(
        "upper",
        "Upper end of the band at the worst reading",
        "upper",
        "`anomaly_upper` at that time.",
        per_channel=True,
    ),
    _of_incidents(
        "evidence",
        "Number of the strongest stream of evidence at the worst reading",
        "strongest",
        "Which stream of evidence was the strongest then: 0 value now, 1 to 3 the means (of 3, 10 and 30 minutes "
        "at short steps), 4 volatility, 5 pair of values never seen, 6 second largest channel, 7 broken correlation, 8 "
        "volatility of all channels, 9 outside the valid range, 10 value beside its peers, 11 mean beside its peers.",
    ),
    _of_incidents(
        "evidence_deviations",
        "Standard deviations from usual of that stream",
        "strongest_size",
        "How far from usual it was, in standard deviations of its noise; negative below. Absent where it has no such "
        "number.",
    ),
    _of_incidents(
        "evidence_interval_seconds",
        "Seconds in which so much comes once by chance",
        "strongest_period",
        "So much comes by chance once in so many seconds. Absent where the detector does not know.",
    ),
    _of_incidents(
        "peers",
        "Number of peers it was compared with at the worst reading",
        "others",
        "How many others of its group it was compared with then, in jobs with `peers`.",
    ),
    _of_incidents(
        "peers_value",
        "Median of its peers at the worst reading",
        "theirs",
        "Their median, in the unit of the channel that differed most.",
    ),
    _of_incidents(
        "peers_ratio",
        "How many times its peers it was at the worst reading",
        "times",
        "The sample over that median. Absent where it is 0 or of another sign.",
    ),
    _of_incidents(
        "peers_usual_ratio",
        "How many times its peers it usually is",
        "usual_times",
        "What would have been usual, over that median.",
    ),
    _of_incidents(
        "contribution",
        "Share of the deviation by channel at the worst reading",
        "contribution",
        "Share of the deviation at that time, 0 to 1, in jobs with several channels.",
        per_channel=True,
    ),
)

FAMILIES: Final = (
    Family(
        "score",
        "How unusual the newest sample is: above 1 is anomalous, NaN means no verdict",
        array="score",
        kind="number",
        optional=False,
        json="score",
        meaning='How unusual the newest sample is. Above 1 is anomalous; NaN means no verdict, never "healthy".',
        when_wrong="NaN for long: see `anomaly_exporter_series`. Gone: the job did not succeed for `max_age`; see "
        "`anomaly_exporter_source_up` and the log.",
    ),
    Family(
        "flag",
        "1 while an incident is open",
        array="flag",
        kind="bit",
        optional=False,
        json="flag",
        meaning="1 while an incident is open, after `direction`, `least_deviation`, `open_after` and `clear_after`; "
        "else 0.",
        when_wrong="Opens too easily: raise `open_after` or `least_deviation`. Never opens: compare value and band.",
    ),
    Family(
        "severity",
        "Weight of the open incident, accumulated while it lasts",
        array="severity",
        kind="present",
        json="severity",
        meaning="Weight of the open incident, accumulated while it lasts. Absent where no incident is open.",
    ),
    Family(
        "alert",
        "1 while the incident is rare enough for the alert budget of its job",
        array="alert",
        kind="bit",
        json="alert",
        meaning="1 while the incident is rare enough for the job's `budget`; what the generated rules send.",
        when_wrong="Too many or too few: change `budget`.",
    ),
    Family(
        "value",
        "The judged sample",
        array="values",
        kind="present",
        per_channel=True,
        json="observed",
        meaning="The judged sample.",
        when_wrong="Differs from the source's newest sample by up to `step` and `lag`.",
    ),
    Family(
        "expected",
        "What the detector expected instead",
        array="expected",
        kind="present",
        per_channel=True,
        json="expected",
        meaning="What the detector expected instead.",
        when_wrong="Absent: the detector has no forecast, or none yet.",
    ),
    Family(
        "lower",
        "Lower end of the band that counts as normal",
        array="lower",
        kind="present",
        per_channel=True,
        json="lower",
        meaning="Lower end of the band that counts as normal, by `direction`, `least_deviation` and `valid_range` too.",
        when_wrong="As for `anomaly_expected`. Absent with `direction: above` alone: too low does not count.",
    ),
    Family(
        "upper",
        "Upper end of the band that counts as normal",
        array="upper",
        kind="present",
        per_channel=True,
        json="upper",
        meaning="Upper end of the band that counts as normal, by `direction`, `least_deviation` and `valid_range` too.",
        when_wrong="As for `anomaly_expected`. Absent with `direction: below` alone: too high does not count.",
    ),
    Family(
        "flapping",
        "1 while an incident is held open because it comes and goes",
        array="flapping",
        kind="true",
        json="flapping",
        meaning="1 while the incident is held open because it opened and closed more than `flap_limit` times within "
        "`flap_window`. Absent for all others.",
        when_wrong="Often there: the job is too nervous; raise `least_deviation`, `open_after` or `clear_after`.",
    ),
    Family(
        "contribution",
        "Share of the open incident by channel, of those with an equal share or more",
        array="contribution",
        kind="shares",
        per_channel=True,
        json="contribution",
        meaning="Share of the open incident's severity that a channel brought in, 0 to 1. Only while an incident is "
        "open, only in jobs with several channels, and only channels with an equal share or more: with three channels "
        "those from a third on.",
        when_wrong="Absent in spite of a flag: the value lies outside `valid_range`, which is nobody's forecast.",
    ),
    Family(
        "group_score",
        "How unusual a group of entities is as a whole",
        array="groups",
        kind="groups",
        optional=False,
        meaning="How unusual a group of entities is as a whole.",
        when_wrong="Only jobs with `group` have it.",
    ),
    Family(
        "series_vanished",
        "1 for a series that has ended, by the reason",
        array="vanished",
        kind="vanished",
        optional=False,
        meaning="1 for a series that has ended, until it is back or for `max_hold`. `reason`: `down` (`up` of its "
        "target is 0 or gone), `replaced` (a sibling began around then), `stopped` (its target is up), `finished` (it "
        "ends as it usually does), `partial` (the source said that its answer was not whole).",
        when_wrong="`replaced` or `finished` is missed: name the labels of the owner in `identity` of the job.",
    ),
    *_FORECAST,
    *_INCIDENT,
)
"""In the order of the page."""

OPTIONS: Final = tuple(family.name for family in FAMILIES if family.optional)
"""What `publish` may choose."""


_OWN: Final = {"deploys": ", `deployed`", "vanished": ", `reason`", "joint": ", `anomaly_incident`"}


def table() -> str:
    """Return the table of docs/metrics.md."""
    rows = ["| Metric | Type | Labels | Meaning | When it looks wrong |", "|---|---|---|---|---|"]
    for family in FAMILIES:
        source = "the labels of `group`" if family.kind == "groups" else "source labels"
        own = ", `channel`" if family.per_channel else _OWN.get(family.kind, "")
        labels = f"{source}, `query`, `detector`{own}"
        wrong = f" {family.when_wrong}" if family.when_wrong else ""
        rows.append(f"| `{family.metric}` | gauge | {labels} | {family.meaning} |{wrong} |")
    return "\n".join(rows)
