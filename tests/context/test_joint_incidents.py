"""Which incidents of all jobs are one, and what is known of them over time."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from detectors.types import Key
from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks.joint_log import JointLog
from exporter.sinks.metrics_page import Page
from exporter.sinks.recent import RecentVerdicts
from tests.support.verdicts import key, verdict

NOW = 1_800_000_000.0


class Exporter:
    """The sinks that joint incidents need, and jobs whose incidents a test opens and closes."""

    def __init__(self, folder: Path | None = None, **jobs: list[Key]) -> None:
        self.keys = {job: tuple(keys) for job, keys in jobs.items()}
        self.since: dict[tuple[str, Key], float] = {}
        self.folder = folder
        self.restart()

    def restart(self) -> None:
        state = {"state": {"path": str(self.folder)}} if self.folder else {}
        config = Config.model_validate({"jobs": {job: {"expr": "up"} for job in self.keys}} | state)
        self.metrics, self.recent = SelfMetrics(), RecentVerdicts()
        self.log = JointLog(self.recent, self.metrics)
        self.recent.prepare(config).commit()
        self.log.prepare(config).commit()

    def cycle(self, at: float, out: set[Key] | None = None, **opened: list[Key]) -> None:
        """Show a verdict of every job: `opened` are the series with an incident, `out` those out of their band."""
        for job, keys in self.keys.items():
            self.record(job, keys, at, opened.get(job, []), out or set())

    def record(self, job: str, keys: tuple[Key, ...], at: float, opened: list[Key], out: set[Key]) -> Verdict:
        some = set(opened)
        flag = np.array([each in some for each in keys])
        for each in keys:
            if each in some:
                self.since.setdefault((job, each), NOW + at)
            else:
                self.since.pop((job, each), None)
        since = [self.since.get((job, each), np.nan) for each in keys]
        values = np.array([[9.0 if each in some or each in out else 5.0] for each in keys])
        limits = {
            name: np.full_like(values, limit) for name, limit in (("expected", 5.0), ("lower", 4.0), ("upper", 6.0))
        }
        shown = verdict(keys, job=job, flag=flag, alert=flag, since=since, values=values, **limits)
        shown = dataclasses.replace(shown, time=NOW + at)
        self.recent.record(shown)
        self.log.record(shown)
        return shown

    @property
    def groups(self) -> list[set[Key]]:
        """The open joint incidents, as sets of the keys of their members."""
        return [{each.key for each in joint.members} for joint in self.log.open()]


def services(rack: str, count: int, first: int = 0) -> list[Key]:
    return [key(service=f"{rack}-{n}", rack=rack, env="prod", job="web") for n in range(first, first + count)]


def racks(count: int = 25, size: int = 40) -> dict[str, list[Key]]:
    return {f"r{n}": services(f"r{n}", size) for n in range(count)}


def test_a_rack_is_one_incident_over_jobs_and_minutes_and_the_first_mover_is_named() -> None:
    by_rack = racks()
    every = [each for some in by_rack.values() for each in some]
    exporter = Exporter(latency=every, errors=every)
    rack = by_rack["r7"]
    exporter.cycle(0)
    exporter.cycle(60, out={rack[11]})
    exporter.cycle(120, latency=rack[:10], out={rack[11]})
    exporter.cycle(180, latency=rack[:25], errors=rack[:10])
    exporter.cycle(420, latency=rack, errors=rack)
    [joint] = exporter.log.open()
    assert len(joint.members) == 80
    assert joint.first.key == rack[11]
    assert joint.first.moved == NOW + 60
    assert joint.first.since == NOW + 180
    assert joint.because == "labels"
    assert joint.shared == {"rack": "r7"}


def test_two_at_the_same_minute_remain_two_without_a_label_that_few_share() -> None:
    by_rack = racks()
    every = [each for some in by_rack.values() for each in some]
    exporter = Exporter(latency=every, errors=every)
    one, other = by_rack["r1"][0], by_rack["r2"][0]
    exporter.cycle(0)
    exporter.cycle(60, latency=[one], errors=[other])
    assert exporter.groups == [{one}, {other}]


def test_a_region_wide_outage_is_one_although_all_series_have_its_label() -> None:
    every = [each for some in racks().values() for each in some]
    exporter = Exporter(latency=every)
    exporter.cycle(0)
    exporter.cycle(60, latency=every[::2])
    [joint] = exporter.log.open()
    assert joint.open_count == 500


def test_what_opens_together_again_and_again_is_one_from_the_third_time_on() -> None:
    a, b = key(queue="mail"), key(disk="sda")
    others = [key(other=str(n)) for n in range(200)]
    exporter = Exporter(queues=[a, *others], disks=[b, *others])
    for day in range(3):
        exporter.cycle(86_400 * day)
        exporter.cycle(86_400 * day + 60, queues=[a], disks=[b])
        expected = [{a}, {b}] if day < 2 else [{a, b}]
        assert exporter.groups == expected
        exporter.cycle(86_400 * day + 120)
    assert exporter.log.open() == []


def test_it_opens_grows_shrinks_and_closes_with_one_id(tmp_path: Path) -> None:
    by_rack = racks()
    exporter = Exporter(tmp_path, latency=[each for some in by_rack.values() for each in some])
    rack = by_rack["r3"]
    exporter.cycle(0)
    exporter.cycle(60, latency=rack[:2])
    [opened] = exporter.log.open()
    exporter.cycle(120, latency=rack[:9])
    exporter.log.save()
    exporter.restart()
    exporter.cycle(180, latency=rack[:20])
    [grown] = exporter.log.open()
    assert (grown.id, grown.open_count) == (opened.id, 20)
    exporter.cycle(240, latency=rack[3:5])
    [shrunk] = exporter.log.open()
    assert (shrunk.id, shrunk.open_count, len(shrunk.members)) == (opened.id, 2, 20)
    began = exporter.since["latency", rack[3]]
    exporter.cycle(300)
    assert exporter.log.open() == []
    over = exporter.log.of("latency", rack[3], began)
    assert over is not None
    assert (over.id, over.over) == (opened.id, NOW + 300)


def test_without_its_file_the_id_is_the_same_as_long_as_the_first_is_open() -> None:
    by_rack = racks()
    exporter = Exporter(latency=[each for some in by_rack.values() for each in some])
    rack = by_rack["r3"]
    exporter.cycle(0)
    exporter.cycle(60, latency=rack[:5])
    [before] = exporter.log.open()
    exporter.restart()
    exporter.cycle(120, latency=rack[:5])
    [after] = exporter.log.open()
    assert (after.id, len(after.members)) == (before.id, 5)


def test_a_file_with_anything_else_is_refused_and_what_is_open_grouped_anew(tmp_path: Path) -> None:
    (tmp_path / "joint-incidents.json").write_bytes(b"nonsense")
    exporter = Exporter(tmp_path, latency=services("r1", 40))
    exporter.cycle(60, latency=services("r1", 2))
    assert exporter.log.open()


def test_jobs_whose_clocks_and_steps_differ_by_minutes_still_meet() -> None:
    by_rack = racks()
    every = tuple(each for some in by_rack.values() for each in some)
    exporter = Exporter(latency=list(every), errors=list(every))
    rack = by_rack["r5"]
    exporter.cycle(0)
    exporter.record("latency", every, 600.0, rack[:10], set())
    exporter.record("errors", every, 420.0, rack[:10], set())  # catches up after an outage
    assert len(exporter.log.open()) == 1


def test_missing_labels_and_labels_with_ten_thousand_values_join_nothing() -> None:
    many = [key(request=str(n)) for n in range(10_000)]
    exporter = Exporter(one=[()], two=[()], many=many)
    exporter.cycle(0)
    exporter.cycle(60, one=[()], two=[()], many=many[:2])
    assert sorted(map(len, exporter.groups)) == [1, 1, 1, 1]


def test_ten_thousand_incidents_at_once_are_one_and_more_are_told_one_by_one() -> None:
    many = [key(service=str(n), rack=f"r{n // 40}", region="eu") for n in range(12_000)]
    exporter = Exporter(many=many)
    exporter.cycle(0)
    exporter.cycle(60, many=many)
    [joint] = exporter.log.open()
    assert joint.open_count == 10_000
    exporter.cycle(120)
    assert exporter.log.open() == []


def test_a_job_that_leaves_the_configuration_ends_its_incidents() -> None:
    exporter = Exporter(latency=services("r1", 40), errors=services("r1", 40))
    exporter.cycle(0)
    exporter.cycle(60, latency=services("r1", 3))
    exporter.log.prepare(Config.model_validate({"jobs": {"errors": {"expr": "up"}}})).commit()
    assert exporter.log.open() == []


def test_metrics_carry_the_id_the_first_movement_and_who_moved_first() -> None:
    by_rack = racks()
    every = tuple(each for some in by_rack.values() for each in some)
    exporter = Exporter(latency=list(every))
    rack = by_rack["r7"]
    exporter.cycle(0)
    exporter.cycle(60, out={rack[4]})
    shown = exporter.record("latency", every, 120.0, rack[:5], set())
    page = Page(exporter.metrics, exporter.log.joined)
    page.publish(shown, ())
    page.render()
    body = page.current.body.decode()
    [joint] = exporter.log.open()
    lines = [line for line in body.splitlines() if line.startswith("anomaly_incident_moved_timestamp_seconds{")]
    assert len(lines) == 5
    assert all(f'{{anomaly_incident="{joint.id}",' in line for line in lines)
    [first] = [line for line in lines if 'service="r7-4"' in line]
    assert float(first.split()[-1]) == NOW + 60
    mine = {"anomaly_incident": joint.id, "first_mover": "env=prod, job=web, rack=r7, service=r7-4 in latency"}
    assert exporter.metrics.registry.get_sample_value("anomaly_exporter_joint_incident_series", mine) == 5
    assert exporter.metrics.registry.get_sample_value("anomaly_exporter_joint_incidents") == 1


@pytest.mark.parametrize("count", [2, 4])
def test_a_handful_of_unrelated_incidents_in_a_small_place_stays_apart(count: int) -> None:
    every = [key(instance=f"host-{n}", job="node", env="prod") for n in range(10)]
    exporter = Exporter(cpu=every, disk=every)
    exporter.cycle(0)
    exporter.cycle(60, cpu=every[:count])
    assert len(exporter.log.open()) == count


def test_one_host_in_two_jobs_is_one() -> None:
    every = [key(instance=f"host-{n}", job="node", env="prod") for n in range(10)]
    exporter = Exporter(cpu=every, disk=every)
    exporter.cycle(0)
    exporter.cycle(60, cpu=[every[0]], disk=[every[0], every[5]])
    assert sorted(map(len, exporter.groups)) == [1, 1]
    assert sorted(len(each.members) for each in exporter.log.open()) == [1, 2]


def test_a_label_that_all_series_of_a_job_have_joins_nothing_within_it() -> None:
    nodes = [key(instance=f"host-{n}", job="node") for n in range(30)]
    others = [key(instance=f"web-{n}", job="web") for n in range(90)]
    exporter = Exporter(nodes=nodes, others=others)
    exporter.cycle(0)
    exporter.cycle(60, nodes=nodes[:2], others=others[:2])
    assert len(exporter.log.open()) == 4


def test_the_replicas_of_a_small_job_and_a_service_that_is_a_job_of_its_own_are_one() -> None:
    replicas = [key(service="cart", pod=f"cart-{n}") for n in range(3)]
    others = [key(service=f"s{n}") for n in range(50)]
    exporter = Exporter(cart=replicas, errors=[key(service="cart"), *others])
    exporter.cycle(0)
    exporter.cycle(60, cart=replicas, errors=[key(service="cart"), others[7]])
    assert sorted(len(each.members) for each in exporter.log.open()) == [1, 4]


def test_a_folder_that_cannot_be_written_is_said_once_and_tried_again(tmp_path: Path, capsys) -> None:
    exporter = Exporter(tmp_path / "file" / "state", latency=services("r1", 40))
    (tmp_path / "file").write_text("no folder")
    exporter.cycle(60, latency=services("r1", 2))
    exporter.log.save()
    exporter.log.save()
    assert capsys.readouterr().out.count("joint_incidents_not_saved") == 1
    (tmp_path / "file").unlink()
    exporter.log.save()
    assert (tmp_path / "file" / "state" / "joint-incidents.json").exists()
