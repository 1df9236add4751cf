"""What is a deploy, and whose it is."""

import json

import numpy as np
import pytest

from exporter.config.sections.context import DeploysConfig
from exporter.context import deploy_book
from exporter.context.deploy_book import DeployBook, Question, questions
from exporter.context.deploys import GRID, Deploy, DeployLog, names
from exporter.context.labels import version_of
from exporter.context.own_deploys import HORIZON, IncidentDeploys, OwnDeploys
from exporter.context.owners import EntityOwners, belongs
from exporter.source.errors import SourceError
from exporter.source.samples import RangeResult
from tests.support.fake import FakeSource

START = 1_700_000_040.0  # on the grid
ASKED = "deploys"


def key(**labels: str):
    return tuple(sorted(labels.items()))


def answer(*series: tuple[dict[str, str], dict[int, float]]) -> RangeResult:
    """Return series with their values by minute."""
    labels = [json.dumps(labels).encode() for labels, _ in series]
    counts = np.array([len(values) for _, values in series], np.int64)
    times = np.array([START + GRID * at for _, values in series for at in values])
    return RangeResult(labels, counts, times, np.array([v for _, values in series for v in values.values()]))


def told(*series: tuple[dict[str, str], dict[int, float]], edge: bool = True) -> list[tuple[int, str]]:
    found = DeployLog().take(answer(*series), START, edge)
    return [(round((deploy.at - START) / GRID), deploy.name) for deploy in found]


def test_a_series_that_begins_is_a_deploy_but_not_one_that_was_there_from_the_first_time_asked_for() -> None:
    always = dict.fromkeys(range(30), 1.0)
    assert told(({"service": "cart", "version": "v1"}, always)) == []
    assert told(({"service": "cart", "version": "v2"}, {7: 1.0})) == [(7, "cart v2")]
    assert told(({"service": "cart", "version": "v1"}, always), edge=False) == [(0, "cart v1")]


def test_a_value_that_rises_is_a_deploy_and_one_that_falls_is_none() -> None:
    values = {at: 5.0 if at < 12 else 6.0 for at in range(40)} | dict.fromkeys(range(30, 40), 2.0)
    assert told(({"deployment": "cart"}, values)) == [(12, "cart")]


def test_a_scrape_that_fails_for_some_minutes_is_no_deploy() -> None:
    there = {at: 1.0 for at in range(60) if not 20 <= at < 24}
    assert told(({"service": "cart", "version": "v1"}, there)) == []


def test_instances_of_one_rollout_are_one_deploy() -> None:
    pods = [({"app": "cart", "pod": f"cart-{n}", "version": "v2"}, {5 + n: 1.0}) for n in range(6)]
    assert told(*pods) == [(5, "cart v2")]


def test_two_deploys_at_once_and_the_way_back_are_two_each() -> None:
    cart, shop = {"service": "cart", "version": "v2"}, {"service": "shop", "version": "v7"}
    assert told((cart, {5: 1.0}), (shop, {5: 1.0})) == [(5, "cart v2"), (5, "shop v7")]
    back = {"service": "cart", "version": "v1"}
    assert told((cart, {5: 1.0}), (back, {1: 1.0, 13: 1.0})) == [
        (1, "cart v1"),
        (5, "cart v2"),
        (13, "cart v1 (back to it)"),
    ]


def test_a_rollout_that_a_library_tells_too_has_one_name() -> None:
    own, library = {"job": "cart", "version": "v2", "revision": "4f5"}, {"job": "cart", "goversion": "go1.23"}
    assert told((own, {5: 1.0}), (library, {5: 1.0})) == [(5, "cart v2")]


def test_answers_in_pieces_tell_what_one_answer_tells() -> None:
    rng = np.random.default_rng()
    series = [
        ({"service": f"s{n}", "version": "v2"}, {int(at): 1.0 for at in np.flatnonzero(rng.random(200) < 0.03)})
        for n in range(20)
    ]
    whole = DeployLog()
    whole.take(answer(*series), START, edge=True)
    pieces = DeployLog()
    for first in range(0, 200, 7):
        part = [(labels, {at: v for at, v in values.items() if first <= at < first + 7}) for labels, values in series]
        pieces.take(answer(*(each for each in part if each[1])), START + GRID * first, edge=first == 0)
    assert pieces.deploys == whole.deploys
    assert len(whole.deploys) > 20


@pytest.mark.parametrize(
    ("labels", "version"),
    [
        ({"version": "v1.8.2", "revision": "abc"}, "v1.8.2"),
        ({"version": "(devel)", "revision": "4f5e6d7c8b9a0b1c"}, "4f5e6d7"),
        ({"image": "registry:5000/shop/cart:2.1@sha256:abc"}, "2.1"),
        ({"image": "shop/cart"}, ""),
        ({}, ""),
    ],
)
def test_the_version_that_people_know_is_told(labels, version) -> None:
    assert version_of(labels) == version


@pytest.mark.parametrize(
    ("entity", "owner", "same"),
    [
        (key(service="cart"), key(service="cart", namespace="shop"), True),
        (key(service="cart", namespace="shop"), key(deployment="cart", namespace="shop"), True),
        (key(service="cart", namespace="test"), key(deployment="cart", namespace="shop"), False),
        (key(pod="cart-7d9f8b6c54-x2x9k", namespace="shop"), key(deployment="cart", namespace="shop"), True),
        (key(pod="cart-db-0"), key(statefulset="cart-db"), True),
        (key(pod="cart-db-0"), key(deployment="cart"), False),
        (key(job="shop/cart", instance="a:1"), key(deployment="cart"), True),
        (key(job="cart", instance="a:1"), key(job="cart"), True),
        (key(job="kubelet", container="cart", pod="cart-7d9f8b6c54-x2x9k"), key(deployment="cart"), True),
        (key(app="shop", component="cart"), key(app="shop", component="api"), False),
        (key(container="app", namespace="shop", job="api"), key(container="app", namespace="shop", job="cart"), False),
        (key(namespace="shop"), key(namespace="shop"), False),
        (key(instance="a:1", device="sda"), key(deployment="cart"), False),
        ((), key(service="cart"), False),
    ],
)
def test_a_deploy_belongs_to_the_series_of_its_workload(entity, owner, same) -> None:
    assert belongs(entity, owner) is same
    assert EntityOwners((entity,), None).rows(owner).tolist() == ([0] if same else [])


def test_labels_that_are_said_count_alone() -> None:
    said = {"deployment": "svc"}
    assert belongs(key(svc="cart", namespace="x"), key(deployment="cart", namespace="y"), said)
    assert not belongs(key(service="cart"), key(deployment="cart"), said)


def test_ten_thousand_owners_are_found_quickly() -> None:
    keys = tuple(key(service=f"s{n}", path=f"/{m}") for n in range(10_000) for m in range(2))
    owners = EntityOwners(keys, None)
    assert owners.rows(key(deployment="s77")).tolist() == [154, 155]
    assert not len(owners.rows(key(deployment="s10000")))


def book_of(*deploys: Deploy) -> DeployBook:
    book, source = DeployBook(), FakeSource()
    for deploy in deploys:
        source.put(ASKED, dict(deploy.owner) | {"version": deploy.version}, {deploy.at: 1.0})
    book.source = source
    return book


CONFIG = DeploysConfig(presets=(), expr=ASKED)


def test_an_incident_names_the_deploys_before_it_and_no_later_or_older_ones() -> None:
    keys = (key(service="cart"), key(service="shop"))
    at = [START + 60 * n for n in (0, 30, 35, 90)]
    own = OwnDeploys(book_of(*(Deploy(t, key(service="cart"), f"v{n}") for n, t in enumerate(at))), waits=True)
    own.catch_up(CONFIG, START - 60, START + 6000)
    incidents, since = IncidentDeploys(), np.array([START + 60 * 42, START + 60 * 42])
    now = START + 60 * 44
    named = incidents.take(own, CONFIG, keys, now, np.ones(2, np.bool_), since)
    assert {row: names(deploys) for row, deploys in named.items()} == {0: "cart v2 and cart v1"}
    again = IncidentDeploys()
    again.restore(incidents.state())
    later = again.take(own, CONFIG, keys, now + 86_000, np.ones(2, np.bool_), since)
    assert later == named
    over = again.take(own, CONFIG, keys, now + 86_060, np.array([True, False]), np.full(2, np.nan))
    assert over == named


def test_a_deploy_is_heeded_a_minute_after_it_was_seen_and_for_a_day() -> None:
    own = OwnDeploys(book_of(Deploy(START, key(service="cart"), "v1")), waits=True)
    own.catch_up(CONFIG, START - 60, START + 600)
    keys = (key(service="cart"), key(service="shop"))
    assert own.newest(CONFIG, keys, START + 45) is None
    for later in (60.0, HORIZON):
        found = own.newest(CONFIG, keys, START + later)
        assert found is not None
        assert found[0] == START
        assert np.isnan(found[1])
    assert own.newest(CONFIG, keys, START + HORIZON + 60) is None


def test_a_source_that_does_not_answer_is_told_and_stops_nothing() -> None:
    book = book_of()
    book.source.error = SourceError("connection refused")
    asked = questions(DeploysConfig(expr=ASKED))
    book.read(asked, START, START + 600)
    assert set(book.standing.trouble) == {"metrics", ""}
    assert book.standing.failures == book.standing.queries > 0
    assert book.known(asked) == ()
    book.source.error = None
    book.source.put(ASKED, {"service": "cart"}, {START + 120: 1.0})
    book.read(asked, START, START + 600)
    assert "" not in book.standing.trouble
    assert [deploy.name for deploy in book.known(asked)] == ["cart"]


def test_nothing_is_asked_twice_and_every_answer_is_bounded() -> None:
    book = book_of(Deploy(START + 60, key(service="cart"), "v1"))
    question = [Question("", ASKED)]
    book.read(question, START, START + 3 * deploy_book.ASKED_AT_ONCE)
    ranges = [(first, last) for _, first, last in book.source.asked]
    assert len(ranges) == 4
    assert all(last - first <= deploy_book.ASKED_AT_ONCE for first, last in ranges)
    book.read(question, START, START + 3 * deploy_book.ASKED_AT_ONCE)
    assert len(book.source.asked) == 4
