"""PromQL that keeps an alert firing while the exporter, the source or a scrape fails, until its end is known."""

from collections.abc import Collection

from exporter.promql import label_name, selector


def recent(expr: str, labels: Collection[str], span: str) -> str:
    """Return the newest value of `expr` within `span`, so that a failed scrape changes nothing.

    `labels`, which the alert sets itself, are removed: results of the rule then match those of ALERTS.
    """
    return f"max without ({_names(labels)}) (last_over_time({expr}[{span}]))"


def firing(alert: str, job: str, labels: Collection[str]) -> str:
    """Return the firing series of an alert, as its rule returned them."""
    chosen = selector("ALERTS", alertname=alert, alertstate="firing", query=job)
    return f"max without ({_names(labels)}) ({chosen})"


def still_firing(alert: str, job: str, labels: Collection[str], own: str, reachable: str) -> str:
    """Return the firing series without new results, which may still be anomalous.

    Parameters
    ----------
    alert, job : str
    labels : collection of str
        Labels that the alert sets itself.
    own : str
        Expression of the series that have a current result.
    reachable : str
        Expression with the label `query` that has a result while the whole job is reporting.
    """
    return f"(\n  {firing(alert, job, labels)}\n  unless {own}\n  unless on (query) ({reachable})\n)"


def just_ended(alert: str, job: str, labels: Collection[str], end: str, span: str) -> str:
    """Return the firing series whose incident ended within `span`, so that their text is written once more.

    What counts is since when the end is known: samples may be judged late. `end` selects the times of ends.
    """
    known = f"max without ({_names(labels)}) ({end} unless {end} offset {span})"
    return f"(\n  {firing(alert, job, labels)}\n  and {known}\n)"


def _names(labels: Collection[str]) -> str:
    return ", ".join(map(label_name, sorted(labels)))


def all_reachable(job: str, scrape_job: str) -> str:
    """Return an expression that is true while the job has results and no replica of the exporter is down."""
    return f"{selector('anomaly_flag', query=job)} unless on () ({selector('up', job=scrape_job)} == 0)"
