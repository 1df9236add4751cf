"""Answers of the JSON API as short texts: whole lines, exact numbers, and what was left out."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from exporter import incident_wording as wording
from exporter.redact import printable
from exporter.web.mcp.references import reference

MOST: Final = 1500
"""Characters of an answer."""
_LINE: Final = 420
_LABELS: Final = 160
_TAIL: Final = 80
_YAML: Final = 500
_MOST_MOVERS: Final = 6
_Json = dict[str, Any]


def fitted(lines: Iterable[str], what: str = "lines") -> str:
    """Return as many whole lines as fit, and how many more there are."""
    every = [clipped(line, _LINE) for line in lines]
    if len("\n".join(every)) <= MOST:
        return "\n".join(every)
    kept: list[str] = []
    for line in every:
        if len("\n".join([*kept, line])) > MOST - _TAIL:
            break
        kept.append(line)
    return "\n".join([*kept, f"({len(every) - len(kept)} more {what} not shown)"])


def clipped(text: str, most: int) -> str:
    """Return the beginning of a text that is too long, with nothing unprintable in it."""
    text = printable(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def labels(of: dict[str, str]) -> str:
    """Write the labels of a series."""
    return clipped(", ".join(f'{name}="{value}"' for name, value in of.items()) or "(its only series)", _LABELS)


def now(answer: _Json) -> str:
    """Write what is wrong now."""
    head = f"As of {answer['at']}: {answer['open']} open incidents, {answer['alerting']} of them alerts."
    lines = [head]
    if answer["expected"]:
        lines.append(f"{answer['expected']} more are open and not shown: people answered that they are expected.")
    lines += [
        f"Not seen: {', '.join(each['jobs'][:5]) or 'everything'}: {each['text']}" for each in answer["unseen"][:4]
    ]
    if len(answer["unseen"]) > 4:
        lines.append(f"Not seen: {len(answer['unseen']) - 4} more; /api/v1/now has all.")
    lines += [
        f"LIMIT {reference(each)}: {each['job']} {labels(each['labels'])} {each['text']}"
        for each in answer["limits"][:5]
    ]
    if answer["near"] > 5:
        lines.append(f"LIMIT: {answer['near'] - 5} more series are near theirs; /api/v1/now has the first.")
    quiet = answer["quiet"]
    if not answer["open"]:
        since = f"since {quiet['since']}" if quiet["since"] else f"since {quiet['counted_since']}, when counting began"
        lines.append(f"{quiet['watched']} of {quiet['series']} series have a verdict; no incident is open {since}.")
    for group in answer["groups"]:
        if (joint := group["joint"]) is not None:
            lines.append(f"ONE INCIDENT {joint['id']}: {joint['text']}. The first of its series:")
        for each in group["incidents"]:
            lines += open_incident(each)
    return fitted(lines)


def open_incident(each: _Json) -> list[str]:
    """Write an open incident in two lines."""
    kind = "ALERT" if each["alert"] else "open"
    length = wording.length(each["seconds"])
    needed = "" if each["needed"] is None else f", an alert from {wording.number(each['needed'])}"
    severity = "unknown" if each["severity"] is None else wording.number(each["severity"])
    return [
        f"{kind} {reference(each)}: {each['job']} {labels(each['labels'])}, for {length} since {each['since']}",
        f"  now {clipped(each['now'], 200)}; severity {severity}{needed}",
    ]


def explained(answer: _Json, answers: Sequence[_Json]) -> str:
    """Write what is known of a series or one of its incidents."""
    judged = answer["judged"] or "never"
    lines = [f"{answer['job']} {labels(answer['labels'])}; last judged {judged}; state {answer['state']}"]
    if (incident := answer["incident"]) is not None:
        lines += [*open_incident(incident), *_findings(answer), f"  {incident['why']}", *_further(incident)]
    elif (past := answer["past"]) is not None:
        end = f"ended {past['until']} ({past['ending']})" if past["until"] else "whether it is over is not known"
        alert = "was an alert" if past["alerted"] else "was no alert"
        lines += [
            f"{reference(past)}: began {past['since']}, {end}; {alert}",
            *_findings(answer),
            f"  {past['why']}",
            *_further(past),
        ]
    else:
        lines.append("No incident is open here.")
    if answer["limit"]:
        lines.append(f"It {answer['limit']}.")
    lines += [_channel(each) for each in answer["channels"]]
    lines += [_answer(each) for each in answers]
    lines += [f"Missing: {note}" for note in answer["notes"]]
    return fitted(lines)


def _further(each: _Json) -> list[str]:
    """Write what would have been normal, and the streams of evidence but the strongest, which `why` has."""
    lines = [f"  {each['instead']}"] if each["instead"] else []
    if further := each["streams"][1:4]:
        lines.append(f"  Also: {' | '.join(stream['text'] for stream in further)}")
    return lines


def _findings(answer: _Json) -> list[str]:
    return [f"  {answer['findings']}"] if answer["findings"] else []


def _channel(each: _Json) -> str:
    known = each["observed"], each["expected"], each["lower"], each["upper"], each["contribution"], each["unit"]
    return f"{each['channel']}: {wording.reading(*known)}"


def _answer(each: _Json) -> str:
    state = f"taken back by {each['undone_by']}" if each["undone"] else "in force" if each["stands"] else "over"
    return f"Answer {each['id']} of {each['who']}, {state}: {each['kind']}: {each['told']}. {clipped(each['why'], 200)}"


def moved(answer: _Json, related: _Json) -> str:
    """Write which incidents are one with that of a series, or else began at the same time, and what else changed."""
    lines, joint = [], answer["joint"]
    if joint is not None:
        lines.append(f"{joint['text']}. Who moved first comes first:")
        for each in joint["movers"][:_MOST_MOVERS]:
            end = "open" if each["until"] is None else f"until {each['until']}"
            if each["judged_by"]:
                end = f"judged by {clipped(each['judged_by'], 100)}: ask there"
            name = "elsewhere" if each["judged_by"] else reference(each)
            lines.append(f"{name}: {each['job']} {labels(each['labels'])}, moved {each['moved']}, {end}")
    elif found := answer["others"]:
        lines.append(f"{len(found)} other incidents began at the same time, the nearest first:")
        for each in found[:_MOST_MOVERS]:
            alert = " alert" if each["alerted"] else ""
            end = "open" if each["until"] is None else f"until {each['until']}"
            lines.append(f"{reference(each)}{alert}: {each['job']} {labels(each['labels'])}, {each['since']}, {end}")
    else:
        lines.append("No other incident that is remembered began at the same time.")
    lines += companions(related)
    return fitted(lines, "series")


def companions(answer: _Json) -> list[str]:
    """Write what else moved around the beginning of an incident."""
    found = answer["companions"]
    head = f"Of {answer['compared']} series that were compared {len(found) or 'none'} changed unusually around then"
    more = ", the most unusual first:" if found else "."
    return [head + more, *(each["text"] for each in found), *(f"Missing: {note}" for note in answer["notes"])]


def samples(answer: _Json, most: int = 24) -> str:
    """Write the samples of a series over a range, evenly thinned where there are many."""
    times = answer["times"]
    step = max(-(-len(times) // most), 1)
    names = [f"{each['channel']}{f' ({unit})' if (unit := each['unit']) else ''}" for each in answer["curves"]]
    lines = [
        f"{answer['job']} {labels(answer['labels'])}",
        f"time (UTC) | {' | '.join(f'{name} [normal]' for name in names)} | score",
    ]
    if not times:
        return fitted([lines[0], "No values are known in this range.", *answer["notes"]])
    if step > 1:
        lines.append(f"(one of {step} samples is shown)")
    dated = times[-1] - times[0] > wording.DATED
    for at in range(len(times) - 1, -1, -step):
        values = [_value(curve, at) for curve in answer["curves"]]
        flag = " ALERT" if answer["alert"][at] else " open" if answer["flag"][at] else ""
        lines.append(
            f"{wording.moment(times[at], dated)} | {' | '.join(values)} | {_plain(answer['scores'][at])}{flag}"
        )
    return fitted(lines, "samples")


def _value(curve: _Json, at: int) -> str:
    return f"{_plain(curve['value'][at])} [{_plain(curve['lower'][at])}..{_plain(curve['upper'][at])}]"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.7g}"


def past(answer: _Json) -> str:
    """Write incidents that are over."""
    lines = [f"{answer['total']} incidents that are over match, the newest end first."]
    for each in answer["incidents"]:
        alert = " alert" if each["alerted"] else ""
        lines.append(
            f"{reference(each)}{alert}: {each['job']} {labels(each['labels'])}, {each['since']} to {each['until']} "
            f"({each['ending']})"
        )
    return fitted(lines, "incidents")


def given(answer: _Json) -> str:
    """Write an answer that was just given or taken back."""
    return fitted([_answer(answer["answer"]), answer["note"]])


def preview(answer: _Json) -> str:
    """Write what a job, or several, would have found."""
    if answer["state"] == "failed":
        return fitted([f"This cannot be replayed. {answer['text']}"])
    if (past := answer["past"]) is not None:
        return fitted([*(_past_job(each) for each in past["jobs"]), *_found(past)], "lines")
    if (decided := answer["decided"]) is None:
        return fitted([f"It is not done: {answer['text']}. Ask again with preview={answer['id']} within 20 s."])
    kind = "Exact" if decided["exact"] else "Not exact"
    lines = [
        f"{kind}: {decided['alerts']} alerts and {decided['found'] - decided['alerts']} other incidents in "
        f"{answer['series_count']} series, {answer['start']} to {answer['end']}; the budget allows "
        f"{wording.number(decided['allowed'])} alerts by chance.",
        *decided["notes"],
        f"direction {decided['direction']}, least_deviation {_plain(decided['least_deviation'])}, budget "
        f"{_plain(decided['budget'])}; move them with preview={answer['id']}",
    ]
    if len(answer["yaml"]) <= _YAML:
        lines += ["For the configuration:", *answer["yaml"].splitlines(), f"check-config: {answer['checked']}"]
    else:
        lines.append(f"The YAML is too long for here: /api/v1/preview?id={answer['id']} has it.")
    return fitted([*lines, *_found(decided)])


def _past_job(each: _Json) -> str:
    if each["incidents"] is None:
        return f"{each['job']}: not judged. {each['error']}"
    alerts = "alerts not known" if each["alerts"] is None else f"{each['alerts']} alerts"
    budget = "" if each["budget"] is None else f" (its budget allows {wording.number(each['budget'])})"
    told = f" {each['error']}" if each["error"] else ""
    return f"{each['job']}: {alerts}{budget}, {each['incidents']} incidents in {each['entities']} series.{told}"


def _found(answer: _Json) -> list[str]:
    """Write incidents, alerts first."""
    worst = sorted(answer["incidents"], key=lambda each: (not each["alert"], -each["severity"]))
    lines = [
        f"{'ALERT' if each['alert'] else 'incident'} {each['job']} {labels(each['labels'])}, {each['start']} for "
        f"{wording.length(each['seconds'])}{'' if each['end'] else ', still open'}; severity "
        f"{wording.number(each['severity'])}; {each['why']}"
        for each in worst
    ]
    return lines or ["No incident in this range."]
