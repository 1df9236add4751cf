"""The small picture of an incident in messages."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from exporter.sinks.notify.notification import Incident
from exporter.web.ui.picture import HEIGHT, WIDTH, incident_picture
from tests.support.pages import STEP, Watched
from tests.support.verdicts import key

A = key(instance="a")


def colors(png: bytes) -> dict[tuple[int, int, int], int]:
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.size) == ("PNG", (WIDTH, HEIGHT))
    return {color: count for count, color in image.convert("RGB").getcolors(WIDTH * HEIGHT)}


def pictured(watched: Watched, **changed) -> bytes | None:
    [logged] = watched.incidents.every()
    return incident_picture(watched.running, logged.incident)


def test_it_shows_value_band_and_incident():
    watched = Watched()
    watched.minutes((A,), 90, lambda ago: [ago < 20])
    png = pictured(watched)
    shown = colors(png)
    assert len(png) < 30_000
    for color in ((0x1F, 0x3B, 0x57), (0xBC, 0xD3, 0xEA), (0xF5, 0xB5, 0xAE)):
        assert shown[color] > 50, color


def test_it_ends_soon_after_its_incident():
    watched = Watched()
    watched.minutes((A,), 119, lambda ago: [100 < ago < 105])
    png = pictured(watched)
    found = colors(png)
    assert found[(0xF5, 0xB5, 0xAE)] > 200


@pytest.mark.parametrize("job", ["gone", "cpu"])
def test_there_is_none_where_nothing_is_known(job):
    watched = Watched()
    incident = Incident(job, {"instance": "a"}, watched.now, 2.0, 1.0, [])
    assert incident_picture(watched.running, incident) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38, 0.0, -1e-300])
def test_any_number_can_be_drawn(bad):
    watched = Watched()
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    watched.minutes(
        (A,), 3, lambda ago: [True], values=np.array([[bad]]), lower=np.array([[bad]]), upper=np.array([[bad]])
    )
    incident = Incident("cpu", {"instance": "a"}, watched.now - 9 * STEP, 2.0, 1.0, [])
    assert incident_picture(watched.running, incident) is not None


FIRST = """
import sys
import numpy as np
from exporter.sinks.recent import Curves
from exporter.web.ui import picture
picture.warm_up()
times = 60.0 * np.arange(120)
line = np.sin(times / 900)[:, None]
curves = Curves(times, line, line, line - 1, line + 1, times, times > 4000, times > 5000)
loaded = set(sys.modules)
picture.draw(curves, times >= 0, 0, "seconds")
print(*sorted(set(sys.modules) - loaded))
"""


def test_the_first_picture_of_a_process_that_got_ready_loads_nothing_more():
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
