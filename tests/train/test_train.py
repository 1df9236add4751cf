"""`anomaly-exporter train` on a real Prometheus, from the samples to the active model."""

import subprocess
import sys

import pytest

from detectors.units import DAY
from exporter.config.sections.root import Config
from exporter.config.sections.train import Endpoint
from exporter.models import StoreError
from exporter.models.retrain_requests import RetrainFolder, RetrainRequest
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.train.exclusions import read_silences
from tests.support.waiting import PATIENCE
from tests.train.conftest import GARBAGE, LASTS, OUTAGES, STEP, TOLD

pytestmark = pytest.mark.servers


def _job(trainer, name="load", store=True):
    config = Config.model_validate(trainer.config)
    return Job(JobSettings(name, config.jobs[name]), None, store=trainer.store if store else None)


def test_what_is_learnt_is_judged_by_what_was_held_back_and_put_in_service(trainer, past):
    train = trainer(detector="auto")
    train.incidents(past.incidents())
    ran = train(f"--to={past.end}")
    assert (ran.code, ran.only["outcome"], ran.only["shard"]) == (0, "promoted", "0/1"), ran
    figures = ran.only["figures"]
    assert (figures["events"], figures["found"], figures["recall"]) == (3, 3, 1.0)
    assert ran.only["reason"] == "3 of 3 known incidents found, 0 false ones, as the first model"
    (stored,) = train.store.versions("load")
    assert stored.in_service
    assert stored.version == ran.only["version"]
    assert stored.outcome.passed
    holdout = past.end - stored.manifest.trained_to
    assert 0.2 * (past.end - past.begin) <= holdout
    assert past.at(OUTAGES[2][0]) > stored.manifest.trained_to, "the incidents it is judged by are held back"
    job = _job(train)
    assert job.model.load()
    assert job.model.version == stored.version
    assert train.store.recorded("load")["outcome"] == "promoted"


def test_known_incidents_are_left_out_of_the_training_and_it_is_said_what_share_that_is(trainer, past):
    train = trainer()
    train.incidents(past.incidents())
    with_file = train(f"--to={past.end}", f"--from={past.begin}", "--stage=fit").only
    samples = 2 * LASTS / STEP  # two of the outages are not held back
    assert with_file["outcome"] == "candidate"
    trained = train.store.versions("load")[0].manifest
    columns = (trained.trained_to - trained.trained_from) / STEP + 1
    assert with_file["figures"]["left_out"] == pytest.approx(samples / (3 * columns))
    assert with_file["figures"]["samples"] == 3 * columns - samples


def test_what_alerts_told_of_is_left_out_of_the_training(trainer, past):
    train = trainer(alerts='{alertname="Down"}')
    ran = train(f"--to={past.end}", f"--from={past.begin}", "--stage=fit")
    assert past.at(TOLD) < train.store.versions("load")[0].manifest.trained_to
    assert ran.only["figures"]["left_out"] == pytest.approx(LASTS / STEP / (ran.only["figures"]["samples"]), rel=0.1)
    unheard = trainer(alerts='{alertname="NeverFired"}')
    assert unheard(f"--to={past.end}", "--stage=fit", "--force").only["figures"]["left_out"] == 0


def test_silences_made_with_amtool_are_left_out_of_the_training(trainer, past, alertmanager):
    server = alertmanager()

    def silence(*matchers):
        command = ["amtool", f"--alertmanager.url={server.url}", "silence", "add", "-c", "test", "-d", "3h"]
        subprocess.run([*command, *matchers], check=True, capture_output=True)

    silence("alertname=NodeDown", "instance=~a|b")
    silence("alertname=Watchdog")  # about no entity: it leaves out nothing
    silence("instance=c", "query=another_job")
    every = read_silences(Endpoint(url=server.url), "load")
    assert sorted(sum(each.concerns((("instance", name),)) for each in every) for name in "abc") == [0, 1, 1]
    train = trainer(alertmanager={"url": server.url}, holdout=0.04)
    ran = train(f"--to={past.end}", f"--from={past.begin}", "--stage=fit")
    assert ran.only["outcome"] == "candidate", ran
    samples = ran.only["figures"]["samples"]
    assert ran.only["figures"]["left_out"] == pytest.approx(2 * 3 * 3600 / STEP / samples, rel=0.2)


@pytest.mark.parametrize("detector", ["auto", "seasonal"])
def test_a_model_trained_on_garbage_is_rejected_and_the_old_one_stays(trainer, past, detector):
    train = trainer("broken", detector)
    first = train(f"--from={past.begin}", f"--to={past.at(GARBAGE[0])}")
    assert first.only["outcome"] == "promoted", first
    ran = train(f"--from={past.at(9)}", f"--to={past.end}", "--force")
    assert (ran.code, ran.only["outcome"]) == (0, "rejected"), ran
    assert "blind" in ran.only["reason"]
    rejected, good = train.store.versions("broken")
    assert good.in_service
    assert not rejected.in_service
    assert rejected.outcome.reason == ran.only["reason"]
    assert train.store.current("broken").version == first.only["version"]
    with pytest.raises(StoreError, match="rejected by the gate"):
        train.store.promote("broken", rejected.version)
    again = train("--stage=promote", f"--version={rejected.version}")
    assert (again.code, again.only["outcome"]) == (0, "rejected")


def test_a_job_of_two_channels_is_trained_and_judged_like_any_other(trainer, past):
    train = trainer()
    job = train.config["jobs"]["load"]
    del job["expr"]
    job["channels"] = {"load": "load", "twice": "2 * load"}
    train.incidents(past.incidents())
    ran = train(f"--to={past.end}")
    assert (ran.code, ran.only["outcome"], ran.only["figures"]["found"]) == (0, "promoted", 3), ran
    assert train.store.versions("load")[0].manifest.channels == ("load", "twice")


def test_without_known_incidents_faults_are_injected_and_the_figures_say_so(trainer, past):
    ran = trainer()(f"--to={past.end}")
    figures = ran.only["figures"]
    assert figures["events"] == 0
    assert figures["faults"] >= 3
    assert f"{figures['faults_found']:.0f} of {figures['faults']:.0f} injected faults found" in ran.only["reason"]


def test_a_model_of_a_few_hours_is_rejected_with_the_hint_that_it_needs_more(trainer, past):
    train = trainer(detector="auto")
    ran = train(f"--from={past.begin}", f"--to={past.at(1)}")
    assert (ran.code, ran.only["outcome"]) == (0, "rejected"), ran
    assert "it has learnt from 19h" in ran.only["reason"]
    again = train(f"--from={past.begin}", f"--to={past.at(3)}")
    assert (again.code, again.only["outcome"]) == (0, "promoted"), again
    assert again.only["trigger"] == "no active model"


def test_what_is_not_due_is_skipped_and_says_what_it_waits_for(trainer, past):
    train = trainer()
    train.incidents(past.incidents())
    version = train(f"--to={past.end}").only["version"]
    ran = train()
    assert (ran.code, ran.only["outcome"]) == (0, "skipped")
    for waited in ("train.every", "train.max_age", "5 more known incidents", "drift", "--force"):
        assert waited in ran.only["reason"]
    assert train.store.current("load").version == version
    assert train.store.recorded("load")["outcome"] == "promoted", "a look is no training"


def test_new_known_incidents_call_for_a_training_however_late_they_are_labelled(trainer, past):
    train = trainer(new_events=3)
    train.incidents(past.incidents()[:2])
    train(f"--to={past.end}")
    assert train(f"--to={past.end}").only["outcome"] == "skipped"
    train.incidents(past.incidents())
    assert train(f"--to={past.end}").only["outcome"] == "promoted"
    assert train(f"--to={past.end}").only["outcome"] == "skipped"


def test_a_job_that_is_too_young_is_skipped_and_a_window_that_is_too_short_fails(trainer, past):
    """On the first night after an installation no Job fails; a wrong `train.window` is told for ever."""
    soon = f"--to={past.begin + 1.5 * STEP}"
    young = trainer()(f"--from={past.begin - 5 * DAY}", soon)
    assert (young.code, young.only["outcome"]) == (0, "skipped"), young
    assert "too few samples to hold some back" in young.only["reason"]
    assert "its samples begin within the training window" in young.only["reason"]
    short = trainer()(f"--from={past.begin - 1}", f"--to={past.begin + 2.5 * STEP}")
    assert (short.code, short.only["outcome"]) == (1, "failed"), short
    none = trainer()(f"--from={past.begin - 5 * DAY}", f"--to={past.begin - DAY}")
    assert (none.code, none.only["outcome"]) == (1, "failed"), none


def test_drift_is_answered_by_a_training_and_asked_again_only_if_that_was_rejected(trainer, past):
    train = trainer("broken", "seasonal")
    train(f"--from={past.begin}", f"--to={past.at(GARBAGE[0])}")
    folder = RetrainFolder.of(Config.model_validate(train.config))
    request = RetrainRequest(job="broken", detector="seasonal", method="adwin", reason="the scores rose", time=1.0)
    folder.write(request)
    bad = train(f"--from={past.at(9)}", f"--to={past.end}")
    assert bad.only["outcome"] == "rejected"
    assert folder.read("broken") == request
    good = train(f"--from={past.begin}", f"--to={past.at(GARBAGE[0])}")
    assert good.only["outcome"] == "promoted", good
    assert folder.read("broken") is None


def test_the_stages_one_by_one_do_what_all_do_together(trainer, past):
    train = trainer()
    to = f"--to={past.end}"
    fitted = train("--stage=fit", to)
    assert (fitted.code, fitted.only["outcome"]) == (0, "candidate")
    assert train.store.current("load") is None
    early = train("--stage=promote", to)
    assert (early.code, early.only["outcome"]) == (1, "failed")
    assert "not evaluated" in early.only["reason"]
    judged = train("--stage=gate", to, f"--version={fitted.only['version']}")
    assert (judged.code, judged.only["outcome"]) == (0, "passed")
    assert train.store.current("load") is None
    promoted = train("--stage=promote", to)
    assert (promoted.code, promoted.only["outcome"]) == (0, "promoted")
    assert train.store.current("load").version == fitted.only["version"]
    report = train("--stage=report")
    assert report.only["outcome"] == "promoted"
    assert report.only["version"] == fitted.only["version"]
    assert report.only["trigger"] == ""
    assert fitted.only["trigger"] == "no active model"
    repeated = train("--stage=promote", to, f"--version={fitted.only['version']}")
    assert (repeated.code, repeated.only["outcome"]) == (0, "skipped")
    assert "is active already" in repeated.only["reason"]
    nothing = train("--stage=gate", to)
    assert (nothing.code, nothing.only["outcome"]) == (0, "skipped")


@pytest.mark.parametrize("by", ["entity", "instance"])
def test_each_shard_gets_a_model_of_its_own_entities(trainer, past, by):
    train = trainer()
    train.config["jobs"]["load"]["shard_by"] = by
    train.config["train"] |= {"shards": 3, "backend": "loky"}
    ran = train(f"--to={past.end}", "--stage=fit", "--workers=2")
    assert ran.code == 0, ran
    assert sorted(line["shard"] for line in ran.lines) == ["0/3", "1/3", "2/3"]
    entities = 0
    for line in ran.lines:
        if line["outcome"] == "skipped":
            assert line["reason"] == "no entity belongs to this replica"
        else:
            (stored,) = train.store.versions(f"load@{line['shard'][0]}-of-3")
            assert stored.version == line["version"]
            entities += line["figures"]["entities"]
    assert entities == 3


def test_of_two_trainings_at_once_the_second_replaces_nothing_it_was_not_compared_with(trainer, past):
    """Row 49."""
    train = trainer()
    to = f"--to={past.end}"
    one = train("--stage=fit", to).only["version"]
    other = train("--stage=fit", to).only["version"]
    train("--stage=gate", to, f"--version={one}")
    train("--stage=gate", to, f"--version={other}")
    assert train("--stage=promote", to, f"--version={other}").only["outcome"] == "promoted"
    late = train("--stage=promote", to, f"--version={one}")
    assert (late.code, late.only["outcome"]) == (0, "skipped")
    assert "another model was" in late.only["reason"]
    assert train.store.current("load").version == other
    again = train("--stage=gate", to, f"--version={one}")
    assert again.only["outcome"] == "passed"
    assert again.only["figures"]["old_generation"] > 0
    assert train("--stage=promote", to, f"--version={one}").only["outcome"] == "promoted"


def test_two_processes_that_train_at_once_leave_a_whole_store(trainer, past):
    """Row 49."""
    train = trainer()
    train(f"--to={past.end}", "--stage=report")  # writes the configuration
    command = [sys.executable, "-m", "exporter", "train", f"--config={train.file}", f"--to={past.end}", "--force"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lines = [process.communicate(timeout=2 * PATIENCE)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], lines
    assert train.store.verify("load") == {}
    assert len(train.store.versions("load")) == 2
    assert train.store.current("load").version in "".join(lines)


def test_the_model_is_the_same_however_few_points_the_source_gives_at_once(trainer, past):
    """Row 8."""
    train = trainer()
    fit = (f"--from={past.begin}", f"--to={past.end}", "--stage=fit", "--force")
    train(*fit)
    train.config["prometheus"]["max_points"] = 37
    train(*fit)
    one, other = (stored.manifest for stored in train.store.versions("load"))
    assert one.version != other.version
    assert (one.fingerprint, one.sha256) == (other.fingerprint, other.sha256)


def test_a_training_longer_than_what_there_is_uses_what_there_is(trainer, past):
    train = trainer()
    ran = train(f"--from={past.begin - 30 * DAY}", f"--to={past.end}", "--stage=fit")
    manifest = train.store.versions("load")[0].manifest
    assert ran.only["outcome"] == "candidate"
    assert manifest.trained_to == pytest.approx(past.end - 0.2 * (past.end - past.begin), abs=DAY)
