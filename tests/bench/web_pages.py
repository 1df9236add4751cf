"""A moved setting of the workbench beside deciding anew; the first page of a large fleet beside that of a small one."""

import time
from collections.abc import Callable

import httpx
import msgspec

from exporter.config.sections.service import WebConfig
from exporter.observe.metrics import SelfMetrics
from exporter.preview.outcome import Outcome
from exporter.sinks.latest import LatestVerdicts
from exporter.sinks.metrics_page import Page
from exporter.web.server import Callbacks, Server
from exporter.web.ui.bench import Choice
from exporter.web.ui.preview_answers import Decided
from tests.bench.cycles import Plan
from tests.bench.report import Row, alternate, say, seconds
from tests.support.pages import Watched
from tests.support.verdicts import key
from tests.support.workbench import outcome

_DAY = 1440
_CHOICES = Choice("above", 2.0), Choice("both", 2.1), Choice("below", 0.0), Choice("both", 0.0)


def moves(plan: Plan) -> Row:
    """Compare moves on one replay with moves that each begin with the tape alone, settings and budget included."""
    entities, samples = (100, 15 * _DAY) if plan.medium >= 1000 else (4, 2 * _DAY)
    say("moves of the workbench against deciding anew")
    kept = outcome(entities, samples)

    def anew(choice: Choice) -> Decided:
        return Outcome(kept.name, kept.job, kept.tape, kept.first).decide(choice)

    def timed(decide: Callable[[Choice], Decided]) -> float:
        began = time.process_time()
        for choice in _CHOICES:
            decide(choice)
        return (time.process_time() - began) / len(_CHOICES)

    def answer(decided: Decided) -> bytes:
        return msgspec.json.encode(msgspec.structs.replace(decided, milliseconds=0.0))

    wrong = ""
    if any(answer(kept.decide(choice)) != answer(anew(choice)) for choice in _CHOICES):
        wrong = "a move finds other incidents than deciding anew"
    quick, slow = alternate(lambda: timed(kept.decide), lambda: timed(anew), plan.rounds)
    incidents = kept.decide(_CHOICES[-1]).found
    return Row(
        "workbench_move_vs_anew",
        slow / quick,
        "x",
        f"{seconds(quick)} a move: {entities} series of {samples:,} samples, {incidents} incidents",
        f"{seconds(slow)}: deciding anew on the same replay",
        wrong or "equal, every incident and curve",
        wrong,
    )


def first_page(plan: Plan) -> Row:
    """Compare the first page of many series with that of those alone that have an open incident, 200 in both."""
    say("the first page of a large fleet against that of a small one")
    few = min(200, plan.medium)

    def serving(series: int) -> Callable[[], httpx.Response]:
        watched, keys = Watched(), tuple(key(instance=f"node-{at:05}") for at in range(series))
        watched.minutes(keys, 40, lambda ago: [at < few and ago < 20 for at in range(series)])
        hooks = Callbacks(lambda: True, lambda: None, feed=LatestVerdicts(), running=watched.running)
        server = Server(WebConfig(listen="127.0.0.1:0"), Page(SelfMetrics()), hooks)
        server.start()
        return lambda: httpx.get(server.url, trust_env=False, timeout=60)

    large, small = serving(plan.medium), serving(few)

    def timed(read: Callable[[], httpx.Response]) -> float:
        began = time.perf_counter()
        read()
        return time.perf_counter() - began

    found = large().text
    wrong = "" if f"{few} incidents" in found else f"the page does not tell of {few} incidents"
    slow, quick = alternate(lambda: timed(large), lambda: timed(small), plan.rounds)
    return Row(
        "first_page_10k_vs_200",
        slow / quick,
        "x",
        f"{seconds(slow)}: {plan.medium:,} series, {few} of them with an open incident ({len(found) / 1e3:.0f} kB)",
        f"{seconds(quick)}: only those {few} series",
        wrong or "all incidents are told",
        wrong,
    )
