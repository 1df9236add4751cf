"""Why a series has ended: the right word for each of two hundred targets."""

import json

import numpy as np
import pytest

from exporter.config.sections.job import JobConfig
from exporter.context.endings import Ending, Targets, changing_labels, reasons
from exporter.pipeline.presence import Presence
from exporter.source.samples import RangeResult

NOW = 1_700_000_000.0
HOUR = 3600.0


def key(**labels: str):
    return tuple(sorted(labels.items()))


def targets(**state: str) -> Targets:
    """Return targets by instance: up, down, or gone."""
    labels, times, values = [], [], []
    for instance, how in state.items():
        labels.append(json.dumps({"__name__": "up", "job": "web", "instance": instance}).encode())
        times.append(NOW - 300 if how == "gone" else NOW)
        values.append(float(how != "down"))
    return Targets(RangeResult(labels, np.ones(len(labels), np.int64), np.array(times), np.array(values)), NOW - 30)


def of(instance: str, **more: str):
    return key(job="web", instance=instance, **more)


def why(ended, born=(), of_targets=None, usual=None, everyone=()):
    found = {each: Ending(NOW, HOUR) for each in ended}
    changing = changing_labels([*ended, *born, *everyone])
    return reasons(found, list(born), changing, of_targets, usual or {})


def test_two_hundred_targets_each_with_its_word() -> None:
    everyone = [of(f"i{n}", path="/") for n in range(200)]
    killed, stopped, renamed = everyone[0], everyone[1], everyone[2]
    rolled = everyone[3:53]
    began = [of(f"new{n}", path="/") for n in range(50)] + [key(job="web", instance="i2", route="/")]
    state = {"i0": "down", "i1": "up", "i2": "up"} | {f"i{n}": "gone" for n in range(3, 53)}
    state |= {f"i{n}": "up" for n in range(53, 200)} | {f"new{n}": "up" for n in range(50)}
    found = why([killed, stopped, renamed, *rolled], began, targets(**state), everyone=everyone)
    assert (found[killed], found[stopped], found[renamed]) == ("down", "stopped", "replaced")
    assert {found[each] for each in rolled} == {"replaced"}


def test_of_fifty_that_are_rolled_those_that_do_not_come_back_are_down() -> None:
    rolled = [of(f"i{n}") for n in range(50)]
    found = why(rolled, [of(f"new{n}") for n in range(48)], targets(**{f"i{n}": "gone" for n in range(50)}))
    assert sorted(found.values()) == ["down"] * 2 + ["replaced"] * 48


def test_a_value_of_a_label_that_is_renamed_is_a_replacement_and_another_target_is_none() -> None:
    state = targets(a="up", b="up")
    assert why([of("a", service="cart")], [of("a", service="cart-v2")], state) == {of("a", service="cart"): "replaced"}
    assert why([of("a", service="cart")], [of("b", service="cart")], state) == {of("a", service="cart"): "stopped"}


def test_metrics_without_up_are_stopped_or_replaced() -> None:
    batch = key(queue="mail", worker="1")
    assert why([batch], [], targets(a="up")) == {batch: "stopped"}
    assert why([batch], [], None) == {batch: "stopped"}
    assert why([key(pod="a-1", app="a")], [key(pod="a-2", app="a")], None) == {key(pod="a-1", app="a"): "replaced"}


def test_a_sum_over_targets_is_down_when_all_of_them_are() -> None:
    whole = key(job="web")
    assert why([whole], [], targets(a="down", b="gone")) == {whole: "down"}
    assert why([whole], [], targets(a="down", b="up")) == {whole: "stopped"}


def test_labels_that_change_together_with_the_instance_name_no_owner() -> None:
    everyone = [key(instance=f"i{n}", rack=f"r{n % 3}", serial=f"s{n}", app="web") for n in range(9)]
    assert changing_labels(everyone) == {"instance", "serial"}
    assert changing_labels(everyone, ["app"]) == {"instance", "serial", "rack"}


def test_a_partial_answer_says_nothing_about_targets() -> None:
    found = reasons({of("a"): Ending(NOW, HOUR, partial=True)}, [of("b")], frozenset({"instance"}), targets(a="up"), {})
    assert found == {of("a"): "partial"}


@pytest.mark.parametrize("size", [10_000])
def test_ten_thousand_that_are_replaced_at_once_are_told_apart_quickly(size: int) -> None:
    ended = [of(f"i{n}", path=f"/{n % 7}", pod=f"p{n}") for n in range(size)]
    born = [of(f"j{n}", path=f"/{n % 7}", pod=f"q{n}") for n in range(size)]
    assert set(why(ended, born).values()) == {"replaced"}


class Watched:
    """A job's presence, minute by minute."""

    def __init__(self, seconds=60, **settings) -> None:
        self.presence = Presence(JobConfig.model_validate({"expr": "up"} | settings))
        self.now, self.told = NOW, {}
        self.keys: tuple = ()
        self.seconds = seconds

    def minute(self, *there, live=True, state=None, whole=True):
        fresh = [each for each in there if each not in self.keys]
        if fresh:
            self.keys = (*self.keys, *fresh)
        present = np.array([each in there for each in self.keys], np.bool_)
        self.now += self.seconds
        self.told = self.presence.take(self.keys, present, self.now, whole, live)
        if live and (ended := self.presence.open(self.now)):
            self.presence.look(ended, state)
        return self.told


def test_the_word_is_there_in_the_second_cycle_and_gone_when_the_series_is_back() -> None:
    job, a, b = Watched(), of("a"), of("b")
    for _ in range(60):
        assert job.minute(a, b) == {}
    state = targets(a="down", b="up")
    job.minute(b, state=state)
    assert job.minute(b, state=state) == {a: "down"}
    assert job.minute(a, b, state=state) == {}


def test_a_partial_answer_is_forgotten_with_the_next_whole_one() -> None:
    job, a, b = Watched(), of("a"), of("b")
    for _ in range(60):
        job.minute(a, b)
    state = targets(a="down", b="up")
    job.minute(b, state=state, whole=False)
    assert job.minute(b, state=state, whole=False) == {a: "partial"}
    job.minute(b, state=state)
    assert job.minute(b, state=state) == {a: "down"}


def test_a_series_does_not_replace_itself() -> None:
    job, a, b = Watched(seconds=10, step="10s"), of("a"), of("b")
    job.minute(b)
    state = targets(a="up", b="up")
    for _ in range(20):
        job.minute(a, b)
    job.minute(b, state=state)
    assert job.minute(b, state=state) == {a: "stopped"}


def test_a_sibling_that_begins_minutes_later_still_replaces() -> None:
    job = Watched()
    for _ in range(60):
        job.minute(of("a"))
    state = targets(a="gone", b="up")
    job.minute(state=state)
    assert job.minute(state=state) == {of("a"): "down"}
    job.minute(of("b"), state=state)
    assert job.minute(of("b"), state=state) == {of("a"): "replaced"}


def test_silence_is_the_normal_state_of_a_series_that_exists_only_on_events() -> None:
    job, errors, always = Watched(), of("a", code="500"), of("a", code="200")
    for _ in range(3):
        for _ in range(12):
            job.minute(always, errors, live=False)
        for _ in range(40):
            job.minute(always, live=False)
    for _ in range(12):
        job.minute(always, errors)
    state = targets(a="up")
    job.minute(always, state=state)
    assert job.minute(always, state=state) == {errors: "finished"}


def test_a_cron_job_finishes_under_another_name_each_time() -> None:
    job, always = Watched(), key(cronjob="other", pod="x-0")
    for run in range(4):
        for _ in range(20):
            job.minute(always, key(cronjob="backup", pod=f"backup-{run}"), live=run == 3)
        for _ in range(1 if run == 3 else 40):
            job.minute(always, live=run == 3)
    assert job.minute(always) == {key(cronjob="backup", pod="backup-3"): "finished"}


def test_what_was_seen_outlives_a_restart() -> None:
    job = Watched()
    for _ in range(60):
        job.minute(of("a"), of("b"))
    job.minute(of("b"), state=targets(a="down"))
    other = Presence(JobConfig(expr="up"))
    other.restore(job.presence.state())
    assert other.pending
    other.look(other.open(job.now), targets(a="down", b="up"))
    assert other.take(job.keys, np.array([False, True]), job.now + 60, True, True) == {of("a"): "down"}


def test_what_is_missed_for_a_day_is_forgotten() -> None:
    job = Watched(max_hold="10m")
    for _ in range(60):
        job.minute(of("a"), of("b"))
    for _ in range(9):
        job.minute(of("b"), state=targets(a="down"))
    assert job.told
    for _ in range(5):
        job.minute(of("b"), state=targets(a="down"))
    assert job.told == {}
