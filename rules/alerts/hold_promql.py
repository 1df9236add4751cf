"""PromQL that keeps an alert until its end is known: not while we, the source or a scrape are silent."""

from collections.abc import Collection

from exporter.promql import selector


def recent(expr: str, labels: Collection[str], span: str) -> str:
    """Return the newest value of `expr` within `span`: a scrape that fails changes nothing.

    Without `labels`, those that the alert sets itself: what the rule returns and what ALERTS says of it then compare.
    """
    return f"max without ({', '.join(sorted(labels))}) (last_over_time({expr}[{span}]))"


def firing(alert: str, job: str, labels: Collection[str]) -> str:
    """Return what of an alert is firing, as its rule returned it."""
    chosen = selector("ALERTS", alertname=alert, alertstate="firing", query=job)
    return f"max without ({', '.join(sorted(labels))}) ({chosen})"


def held(alert: str, job: str, labels: Collection[str], own: str, heard: str) -> str:
    """Return what is firing and of which nothing is heard, though it may be going on.

    Parameters
    ----------
    alert, job : str
    labels : collection of str
        Those that the alert sets itself.
    own : str
        What has a verdict of its own, so that nothing needs to be remembered.
    heard : str
        An expression with the label `query` that is there while all of the job is heard of.
    """
    return f"(\n  {firing(alert, job, labels)}\n  unless {own}\n  unless on (query) ({heard})\n)"


def all_heard(job: str, scrape_job: str) -> str:
    """Return what is there while the job has verdicts and no exporter is down: a replica may have its entities."""
    return f"{selector('anomaly_flag', query=job)} unless on () ({selector('up', job=scrape_job)} == 0)"
