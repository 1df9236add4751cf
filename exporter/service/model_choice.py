"""Which stored model of a job is the active one, as chosen on its page."""

from collections.abc import Callable

import structlog

from exporter.models import ModelRefused, StoreError
from exporter.redact import masked
from exporter.service.active import Active
from exporter.web.ui.not_answered import NotAnswered

log = structlog.get_logger()


def activate(active: Callable[[], Active], job: str, version: str, seen: str, who: str) -> None:
    """Make a version of a job's model the active one, as `models rollback` does.

    Parameters
    ----------
    active : callable returning Active
    job, version : str
    seen : str
        The version that was active when `who` chose: somebody else may have chosen another since.
    who : str
        For the log.

    Raises
    ------
    NotAnswered
        What is active stays.
    """
    now = active()
    runner = now.runners.get(job)
    if now.store is None or runner is None:
        raise NotAnswered(404, "There is no such job now, or no model store (models): load the page again.")
    store, name = now.store, runner.job.settings.model_name
    try:
        stored = {each.version: each for each in store.versions(name)}
        before = next((each.version for each in stored.values() if each.in_service), "")
        if version not in stored:
            raise NotAnswered(404, "This version is not in the store any more: load the page again.")
        if before != seen:
            raise NotAnswered(409, f"{before or 'No version'} is active now, not the one that this page showed: load "
                              "it again and choose again. Nothing was changed.")  # fmt: skip
        outcome = stored[version].outcome
        if outcome is not None and not outcome.passed:
            raise NotAnswered(
                409, f"The gate rejected {version}: {outcome.reason}. Nothing was changed; `models promote --force` "
                "takes it all the same."
            )  # fmt: skip
        store.rollback(name, version)
    except ModelRefused as error:
        raise NotAnswered(409, f"This version cannot be used: {masked(str(error))}. Nothing was changed.") from None
    except StoreError as error:
        raise NotAnswered(502, f"The model store did not take it: {masked(str(error))}. Nothing was changed.") from None
    log.warning("model_chosen", job=job, version=version, before=before, who=who, hint="it is active once it caught up")
