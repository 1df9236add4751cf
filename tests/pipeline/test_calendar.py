"""Holidays, special days and maintenance windows: judged as another day, not learnt, no alert."""

from datetime import datetime
from typing import ClassVar
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from detectors.seasonality import SeasonalTime
from exporter.config.digest import JobDigests
from exporter.config.sections.calendars import CalendarConfig
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.pipeline.calendar import JobCalendar
from tests.support.cycles import MONDAY, cycles

BERLIN = ZoneInfo("Europe/Berlin")
STEP = 600.0
DAY = 144
"""In samples of ten minutes."""


def calendar(**settings) -> JobCalendar:
    return JobCalendar([CalendarConfig.model_validate(settings)], "UTC")


def at(text: str, zone=BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def week(rng, days):
    """Traffic that is 60 % less on Saturdays and Sundays, from a Monday on."""
    t = np.arange(days * DAY)
    weekend = (t // DAY) % 7 >= 5
    shape = (1 + 0.4 * np.sin(2 * np.pi * t / DAY)) * np.where(weekend, 0.4, 1.0)
    return 200 * shape, lambda mean: mean * (1 + 0.04 * rng.standard_normal(len(mean)))


class TestWhichTimes:
    @pytest.mark.parametrize(
        ("moment", "name"),
        [
            ("2026-04-03T00:00:00", "Good Friday"),
            ("2026-04-03T23:59:00", "Good Friday"),
            ("2026-04-02T23:59:00", None),
            ("2026-04-04T00:00:00", None),
            ("2026-03-08T12:00:00", "Women's Day"),  # in Berlin only
            ("2033-04-15T12:00:00", "Good Friday"),
        ],
    )
    def test_public_holidays_of_a_country_and_its_part_last_a_day_of_its_own_time_zone(self, moment, name):
        berlin = calendar(name="b", country="DE", subdivision="BE", counts_as="sunday", time_zone="Europe/Berlin")
        found = berlin.at(at(moment))
        assert (found.weekday, found.notes) == ((6, (f"b: {name} counts as sunday",)) if name else (-1, ()))

    def test_a_holiday_of_one_part_is_a_plain_day_in_another(self):
        bavaria = calendar(country="DE", subdivision="BY", counts_as="sunday", time_zone="Europe/Berlin")
        assert bavaria.at(at("2026-03-09T12:00:00")).weekday == -1
        assert bavaria.at(at("2026-11-01T12:00:00")).weekday == 6

    def test_special_days_are_ranges_with_both_ends(self):
        closed = calendar(days=["2026-12-24..2026-12-31", "2027-02-15"], counts_as="saturday")
        assert [closed.at(at(f"{day}T10:00:00", ZoneInfo("UTC"))).weekday for day in (
            "2026-12-23", "2026-12-24", "2026-12-31", "2027-01-01", "2027-02-15", "2027-02-16"
        )] == [-1, 5, 5, -1, 5, -1]  # fmt: skip

    @pytest.mark.parametrize(
        ("interval", "inside", "outside"),
        [
            ({"times": ["22:00-06:00"]}, ["2026-05-04T22:00", "2026-05-04T05:59"], ["2026-05-04T06:00"]),
            ({"weekdays": ["monday:wednesday"]}, ["2026-05-04T00:00", "2026-05-06T23:59"], ["2026-05-03T23:59"]),
            ({"weekdays": ["sunday"]}, ["2026-05-03T12:00"], ["2026-05-02T12:00", "2026-05-04T12:00"]),
            ({"days_of_month": ["-1"]}, ["2026-02-28T12:00", "2028-02-29T12:00"], ["2028-02-28T12:00"]),
            ({"days_of_month": ["1:7"], "weekdays": ["tuesday"]}, ["2026-05-05T12:00"], ["2026-05-12T12:00"]),
            ({"days_of_month": ["-7:-1"], "weekdays": ["sunday"]}, ["2026-05-31T12:00"], ["2026-05-24T12:00"]),
            ({"months": ["december", "1:2"]}, ["2026-12-01T00:00", "2026-02-28T00:00"], ["2026-03-01T00:00"]),
            ({"years": ["2026:2027"]}, ["2027-12-31T23:59"], ["2028-01-01T00:00"]),
            ({"times": ["02:00-03:00"], "months": ["may"]}, ["2026-05-04T02:30"], ["2026-05-04T03:00"]),
        ],
    )  # fmt: skip
    def test_recurring_hours_are_read_as_alertmanager_reads_them(self, interval, inside, outside):
        window = calendar(times=[{**interval, "location": "Europe/Berlin"}], learn=False)
        assert all(not window.at(at(moment)).learn for moment in inside)
        assert all(window.at(at(moment)).learn for moment in outside)

    def test_clocks_that_are_put_forward_or_back_move_no_day(self):
        spring = calendar(days=["2026-03-29"], counts_as="monday", time_zone="Europe/Berlin")
        begin, end = at("2026-03-29T00:00:00"), at("2026-03-30T00:00:00")
        assert end - begin == 23 * 3600
        assert [spring.at(time).weekday for time in (begin - 1, begin, end - 60, end)] == [-1, 0, 0, -1]

    def test_several_calendars_add_up_and_the_first_day_of_the_week_counts(self):
        both = JobCalendar(
            [
                CalendarConfig.model_validate({"name": "a", "days": ["2026-05-01"], "counts_as": "sunday"}),
                CalendarConfig.model_validate(
                    {"name": "b", "days": ["2026-05-01"], "counts_as": "monday", "learn": False, "alert": False}
                ),
            ]
        )
        found = both.at(at("2026-05-01T12:00:00"))
        assert (found.weekday, found.learn, found.alert) == (6, False, False)
        assert found.notes == (
            "a: 2026-05-01 counts as sunday",
            "b: 2026-05-01 counts as monday and is not learnt and raises no alert",
        )

    def test_the_same_hour_of_another_day_is_meant(self):
        wednesday = at("2026-05-06T07:30:00")
        sunday = at("2026-05-10T07:30:00")
        as_sunday, own = (SeasonalTime.at(time, 60.0, BERLIN, day) for time, day in ((wednesday, 6), (sunday, -1)))
        assert (as_sunday.week, as_sunday.day_type, as_sunday.hour) == (own.week, own.day_type, own.hour)

    def test_the_zone_of_the_detector_is_the_default(self):
        job = {"expr": "up", "detector": {"auto": {"time_zone": "Asia/Tokyo"}}, "calendars": ["may"]}
        config = Config.model_validate(
            {"calendars": {"may": {"days": ["2026-05-01"], "learn": False}}, "jobs": {"a": job}}
        )
        found = JobCalendar.of(config.jobs["a"])
        assert not found.at(at("2026-05-01T00:30:00", ZoneInfo("Asia/Tokyo"))).learn
        assert found.at(at("2026-05-01T23:30:00", ZoneInfo("UTC"))).learn


class TestHolidays:
    DAYS = 18
    THURSDAY = 17
    """Day of the holiday, in the third week."""

    @pytest.fixture(scope="class")
    @classmethod
    def flags(cls):
        """Flags of six series on the holiday, with a calendar and without; of two, half of it is missing that day."""
        series = {}
        for n in range(6):
            rng = np.random.default_rng([815, n])
            mean, noisy = week(rng, cls.DAYS)
            holiday = slice(cls.THURSDAY * DAY, (cls.THURSDAY + 1) * DAY)
            mean[holiday] *= 0.4
            if n >= 4:
                mean[holiday.start + DAY // 2 : holiday.start + DAY // 2 + 18] *= 0.5
            series[f"s{n}"] = noisy(mean)
        days = [{"days": ["2026-03-19"], "counts_as": "sunday"}]
        return {
            name: np.stack([v.flag for v in cycles(series, step=STEP, **settings)])
            for name, settings in {"with": {"calendars": days}, "without": {}}.items()
        }

    def on_the_day(self, flags):
        return flags[self.THURSDAY * DAY : (self.THURSDAY + 1) * DAY + 6]

    def test_a_holiday_in_the_calendar_opens_nothing(self, flags):
        assert not self.on_the_day(flags["with"])[:, :4].any()

    def test_an_outage_on_a_holiday_is_found(self, flags):
        outage = self.on_the_day(flags["with"])[DAY // 2 : DAY // 2 + 18, 4:]
        assert outage.any(axis=0).all()

    def test_without_an_entry_it_opens_at_most_one_incident_of_each_series(self, flags):
        on = self.on_the_day(flags["without"])[:, :4].astype(int)
        assert ((np.diff(on, axis=0, prepend=0) == 1).sum(axis=0) <= 1).all()
        assert on.any()  # or the calendar would have nothing to do


class TestMaintenance:
    WINDOW: ClassVar = {"times": [{"times": ["02:00-04:00"]}], "alert": False, "learn": False}
    NIGHT = 9 * DAY + 12
    """Two o'clock of the tenth night."""

    def run(self, ends, **settings):
        """A series at zero from 2:10 on that night, until so many samples after two o'clock."""
        rng = np.random.default_rng(4)
        values = 100 + rng.standard_normal(11 * DAY)
        values[self.NIGHT + 2 : self.NIGHT + ends] = 0.0
        found = list(cycles({"a": values}, step=STEP, **settings))
        return (np.array([getattr(each, name)[0] for each in found]) for name in ("flag", "alert"))

    def test_without_it_the_incident_is_an_alert(self):
        flag, alert = self.run(ends=10)
        assert flag[self.NIGHT : self.NIGHT + 12].any()
        assert alert[self.NIGHT : self.NIGHT + 12].any()

    def test_what_begins_and_ends_in_the_window_is_an_incident_and_no_alert(self):
        flag, alert = self.run(ends=10, calendars=[self.WINDOW])
        assert flag[self.NIGHT : self.NIGHT + 12].any()
        assert not alert[self.NIGHT :].any()

    def test_what_has_just_ended_when_the_window_does_is_no_alert_either(self):
        flag, alert = self.run(ends=12, calendars=[self.WINDOW], clear_after=3600.0)
        assert flag[self.NIGHT + 13]  # not closed yet
        assert not alert[self.NIGHT :].any()

    def test_what_is_still_wrong_after_the_window_is_an_alert_at_once(self):
        flag, alert = self.run(ends=30, calendars=[self.WINDOW])
        assert np.flatnonzero(alert[self.NIGHT :])[0] == 12
        assert alert[self.NIGHT + 12 : self.NIGHT + 30].all()
        assert flag[self.NIGHT + 3 : self.NIGHT + 30].all()

    def test_nothing_is_learnt_in_it(self):
        """What happens in the window every night is at the next hour as unusual as if it had never happened."""
        rng = np.random.default_rng(5)
        values = 100 + rng.standard_normal(12 * DAY)
        nights = np.arange(12 * DAY) % DAY
        values[(nights >= 12) & (nights < 24)] *= 3
        later = slice(11 * DAY + 50, 11 * DAY + 55)
        values[later] = 130.0
        score = {
            name: np.array([v.score[0] for v in cycles({"a": values}, step=STEP, **settings)])
            for name, settings in {"with": {"calendars": [self.WINDOW]}, "without": {}}.items()
        }
        assert np.nanmin(score["with"][later]) > 1
        assert np.nanmax(score["with"][later]) > np.nanmax(score["without"][later])

    def test_its_incidents_do_not_make_later_ones_common(self):
        from exporter.pipeline.alert_budget import AlertBudget

        keys = ((("a", "1"),), (("a", "2"),))
        open_, closed = np.array([True, False]), np.array([False, False])
        severity, none = np.array([50.0, 0.0]), np.zeros(2)

        def after(muted):
            budget = AlertBudget(1.0, 1.0)
            for _ in range(3):
                budget.decide(keys, open_, severity, none, 60.0, muted=np.array([muted, False]))
                budget.decide(keys, closed, none, severity, 60.0)
            return budget.state()["closed"].sum()

        assert after(muted=True) == 0
        assert after(muted=False) > 2


def test_a_calendar_is_exchanged_in_a_running_job():
    from exporter.config.digest import job_digests

    def digests(**entry) -> JobDigests:
        config = Config.model_validate(
            {"calendars": {"c": {"days": ["2026-05-01"], **entry}}, "jobs": {"a": {"expr": "up", "calendars": ["c"]}}}
        )
        return job_digests(config.jobs["a"], config)

    one, other = digests(learn=False), digests(alert=False)
    assert one.learning == other.learning
    assert one.deciding != other.deciding


def test_a_job_with_a_calendar_survives_being_written_and_read():
    config = Config.model_validate(
        {
            "calendars": {"c": {"country": "DE", "days": ["2026-05-02..2026-05-04"], "counts_as": "sunday"}},
            "jobs": {"a": {"expr": "up", "calendars": ["c"]}},
        }
    )
    job = config.jobs["a"]
    again = JobConfig.model_validate(job.model_dump(mode="json", by_alias=True, exclude_unset=True))
    assert again.calendars == job.calendars
    assert again.calendars[0].name == "c"


def test_a_job_without_calendars_costs_nothing():
    assert JobCalendar().at(MONDAY) is JobCalendar().at(MONDAY + 1)
    assert JobCalendar().muted(np.array([True]), np.array([MONDAY]), np.array([2.0]), MONDAY) is None
