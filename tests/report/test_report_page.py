"""The page tells what happened, what it cost, and what nobody knows."""

import builtins
import re
import time
from html.parser import HTMLParser

import pytest

from detectors.units import DAY
from exporter.sinks.audit_rows import HEADER, timestamp
from tests.report.conftest import SCRIPT

pytestmark = pytest.mark.servers
_VOID = {"meta", "br", "path", "use"}


class Page(HTMLParser):
    """Elements, and the text by section."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.open, self.tags, self.text = html, [], [], ""
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()
        self.sections = {part.partition("\n")[0]: part for part in self.text.split("\n§")}

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        self.open.append(tag)
        self.text += "\n§" if tag == "h2" else ""

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        while self.open and (last := self.open.pop()) != tag:
            assert last in _VOID, f"<{last}> is closed by </{tag}>"
        self.text += "\n" if tag in {"h1", "h2", "h3", "p", "li", "tr", "b"} else " "

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data.strip("\n")


@pytest.fixture
def page(written) -> Page:
    return Page(written["page"])


def test_incidents_alerts_and_budgets_are_those_of_the_week(page):
    jobs = page.sections["Jobs"]
    assert re.search(r"node-cpu 2 1 of 1 +4 ", jobs)
    assert re.search(r"api 1 1 of 3 +1 ", jobs)
    longest = page.sections["Longest incidents"]
    assert re.findall(r"(\d+ (?:h|min)(?: \d+ min)?), from", longest) == [
        "7 h", "3 h", "2 h 25 min", "1 h", "30 min",
    ]  # fmt: skip
    assert "2 h 25 min" in longest.split("still open")[0]
    assert "Highest score 6.5" in longest
    assert "Drawn is p99, the one that contributed most of 2 channels" in longest


def test_the_audit_file_adds_what_prometheus_did_not_scrape_and_tells_times_to_the_minute(page, week):
    longest = page.sections["Longest incidents"]
    assert longest.count("known from the audit file only") == 1
    late = time.strftime("%Y-%m-%d %H:%M", time.gmtime(week.at(3.0) + 60))
    assert f"from {late}" in longest
    assert "Torn or strange rows of the audit file" in page.text


def test_every_incident_that_prometheus_knows_has_its_picture(page):
    assert page.tags.count("svg") == 1 + 4
    assert page.sections["Longest incidents"].count("No picture") == 1
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)), "pictures share ids"
    for target in re.findall(r'(?:url\(#|href="#)([^)"]+)', page.html):
        assert target in ids


def test_what_is_not_known_never_looks_healthy(page):
    notes = page.text.split("Anomalies over time")[0]
    assert "lonely for the whole time" in notes
    assert "node-cpu for 10 h" in notes
    assert "no verdict on any entity: node-cpu for 2 h" in notes
    assert "left queries unanswered: node-cpu for 2 h" in notes
    assert "no fresh sample, or could not be judged: node-cpu for 4.0 of 316 entity-hours" in notes
    assert re.search(r"lonely unknown unknown unknown never", page.sections["Jobs"])
    assert "Nothing was missing" not in page.text


def test_drift_retrains_backtests_and_troubles_are_told(page):
    assert "drift seen by adwin" in page.sections["Drift and retrains"]
    assert "retrain promoted" in page.sections["Drift and retrains"]
    assert re.search(r"node-cpu 0\.80 \(0\.50\) 0\.90 0\.85 +10 ", page.sections["Precision and recall"])
    troubles = page.sections["Troubles of the exporter"]
    assert re.search(r"failed queries deadline 120\b", troubles)
    assert re.search(r"entity-hours without a verdict stale 4\b", troubles), "two entities, two hours"


def test_labels_cannot_break_out_of_the_page_and_nothing_is_fetched(page):
    assert "script" not in page.tags
    assert SCRIPT in page.text
    assert "$x$ & <b>\\ \N{REPLACEMENT CHARACTER}" in page.text
    allowed = {"http-equiv", "content", "aria-label", "xmlns", "xmlns:xlink"}
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name not in allowed:
            assert "//" not in (value or ""), (name, value)
    assert not {"link", "img", "iframe", "object", "image", "base", "form", "a"} & set(page.tags)
    assert "@import" not in page.html


def test_the_digest_is_short_and_says_the_same(written):
    digest = written["digest"]
    assert digest.startswith("Anomalies in the week to ")
    assert "2 alerts (budget 5), 5 incidents at 3 entities; judged 62 % of the time." in digest
    assert "- lonely: nothing is known\n" in digest
    assert "! Nothing is known: the exporter did not run, or Prometheus did not scrape it: lonely" in digest
    assert len(digest.splitlines()) < 20
    assert all(char.isprintable() or char == "\n" for char in digest)


def test_one_job_of_a_month_is_only_about_that_job(report, config, week, tmp_path):
    result = report("--config", config(), "--period", "month", "--job", "api", "--to", week.end, "--text")
    assert result.exit_code == 0, result.output
    assert "node-cpu" not in result.stdout
    assert "1 alert " in result.stdout
    assert "in the month to" in result.stdout
    assert re.search(r"Nothing is known.*: api for 2[0-9] d", result.stdout), "three weeks before there was an exporter"


def test_an_open_incident_that_only_the_audit_file_knows_is_told_as_open_with_its_beginning(
    report, config, week, tmp_path
):
    begin = week.at(-2)
    path = tmp_path / "audit.csv"
    path.write_bytes(HEADER + b"".join(
        f'{timestamp(begin + 600 * at)},api,"{{""service"": ""c""}}",p99,1,1,0,2,,3,1,auto,,abc,,,,,,,,\n'.encode()
        for at in range(9 * 144)
    ))  # fmt: skip
    out = tmp_path / "report.html"
    arguments = ["--config", config(audit={"path": str(path)}), "--to", week.end, "--job", "api"]
    result = report(*arguments, "--text", "--out", out)
    assert result.exit_code == 0, result.output
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(begin))
    assert f"api: service=c: 9 d, since {since}, still open at the end of the period (known" in result.stdout
    assert (
        f"9 d, since {since}, still open at the end of the period (known from the audit file only)" in out.read_text()
    )
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:20]))  # the exporter stopped, and came back
    last = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(begin + 18 * 600))
    assert f"since {since}, still open when it was last seen: {last}" in report(*arguments, "--text").stdout


def test_a_day_is_a_period_as_a_length_as_a_date_and_as_yesterday(report, config, week, tmp_path):
    """The long incident is on the second day, the fault of the shop on the fifth."""
    day = report("--config", config(), "--period", "day", "--to", week.at(1.5), "--text")
    assert day.exit_code == 0, day.output
    assert day.stdout.startswith("Anomalies in the day to ")
    assert "1 incident at 1 entity" in day.stdout
    assert "service" not in day.stdout
    date = time.strftime("%Y-%m-%d", time.gmtime(week.at(1.2)))
    out = tmp_path / "day.html"
    assert report("--config", config(), "--period", date, "--out", out).exit_code == 0
    assert "still open" in out.read_text()
    two = report("--config", config(), "--period", "2d", "--to", week.at(4.9), "--text")
    assert "Anomalies in the 2d to" in two.stdout
    assert "service" in two.stdout
    hours = report("--config", config(), "--period", "3h", "--to", week.at(1.2), "--text")
    assert hours.exit_code == 0, hours.output
    yesterday = report("--config", config(), "--period", "yesterday", "--text")
    assert yesterday.exit_code == 0, yesterday.output
    assert f"to {time.strftime('%Y-%m-%d')} 00:00 UTC" in yesterday.stdout
    refused = report("--config", config(), "--period", "yesterday", "--to", week.end, "--text")
    assert "--period yesterday has an end of its own; omit --to" in refused.stderr


def test_a_period_before_there_was_anything_is_an_error_and_no_empty_page(report, config, week, tmp_path):
    out = tmp_path / "report.html"
    result = report("--config", config(), "--to", week.end - 30 * DAY, "--out", out)
    assert result.exit_code == 3
    assert "has nothing of jobs node-cpu, api, lonely from " in result.stderr
    assert "retention" in result.stderr
    assert not out.exists()


def test_a_job_that_does_not_exist_a_folder_that_is_missing_and_a_wrong_time_are_refused(report, config, tmp_path):
    for arguments, said in (
        (["--job", "nod-cpu", "--text"], "--job nod-cpu: no such job in "),
        (["--period", "year", "--text"], "--period year: must be day, week, month, yesterday, "),
        (["--out", tmp_path / "none" / "r.html"], "there is no folder"),
        (["--out", tmp_path], "is a folder; name a file in it"),
        (["--to", "soon", "--text"], "--to: "),
        (["--to", "2999-01-01", "--text"], "--to is in the future"),
        ([], "nothing to do: give --out FILE.html"),
    ):
        result = report("--config", config(), *arguments)
        assert result.exit_code == 1, result.output
        assert said in result.stderr
        assert "Traceback" not in result.output


def test_without_prometheus_there_is_one_clear_sentence_and_the_page_before_stays(report, config, tmp_path):
    out = tmp_path / "report.html"
    out.write_text("the week before")
    path = config(prometheus={"url": "http://127.0.0.1:9", "retries": 0, "deadline": "2s"})
    result = report("--config", path, "--out", out)
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "no report: Prometheus at http://127.0.0.1:9 did not return the history of the exporter's metrics: "
    )
    assert len(result.stderr.splitlines()) == 1
    assert out.read_text() == "the week before"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def test_an_audit_file_that_is_missing_or_something_else_is_said_and_costs_nothing(report, config, week, tmp_path):
    missing = report("--config", config(audit={"path": str(tmp_path / "no.csv")}), "--to", week.end, "--text")
    assert "no.csv is not there: all below is from Prometheus alone" in missing.stdout
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    strange = report("--config", config(audit={"path": str(other)}), "--to", week.end, "--text")
    assert "other.csv (its columns are not those of an audit file)" in strange.stdout
    assert missing.exit_code == strange.exit_code == 0
    assert "4 incidents" in missing.stdout


def test_entities_beyond_the_limit_on_series_are_not_left_out_in_silence(report, config, week):
    result = report("--config", config(limits={"series": 1}), "--to", week.end, "--text")
    assert "! There were more series than limits.series lets in; entities are missing below." in result.stdout


def test_pictures_need_matplotlib_and_the_digest_does_not(report, config, week, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    result = report("--config", config(), "--to", week.end, "--out", tmp_path / "r.html")
    assert result.exit_code == 1
    assert "pip install 'anomaly-exporter[plot]'" in result.stderr
    assert report("--config", config(), "--to", week.end, "--text").exit_code == 0
