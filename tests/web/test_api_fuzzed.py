"""Every operation of the OpenAPI document, asked what schemathesis can think of."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from exporter.config.sections.service import WebConfig
from exporter.observe.metrics import SelfMetrics
from exporter.sinks.metrics_page import Page
from exporter.web.server import Callbacks, Server
from exporter.web.ui.openapi import document
from tests.support.pages import Watched
from tests.support.verdicts import key

REFUSING = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "5xx"]
"""Statuses of requests that the document does not allow; schemathesis knows all but 413, a body that is too long."""
CONFIG = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSING}}})


@pytest.fixture(scope="module")
def described() -> Iterator[Any]:
    watched = Watched()
    watched.minutes((key(instance="a"), key(instance="b")), 60, lambda ago: [ago < 10, 20 < ago < 30])
    hooks = Callbacks(lambda: True, lambda: None, feed=watched.feed, running=watched.running)
    server = Server(WebConfig(listen="127.0.0.1:0"), Page(SelfMetrics()), hooks)
    server.start()
    yield schemathesis.openapi.from_url(f"{server.url}/api/v1/openapi.json", config=CONFIG)
    server.stop()


OPERATIONS = [(method, path) for path, methods in document()["paths"].items() for method in methods]
OLDER = {"/api/v1/anomalies": [positive_data_acceptance]}
"""What does not hold of an endpoint: this one has always answered 400 where others answer 404, to an unknown job."""


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_operation_answers_as_the_document_says(described, method, path):
    """Also what the document does not allow: it is refused in a sentence, and nothing breaks."""
    operation = described[path][method.upper()]
    modes = [operation.as_strategy(generation_mode=mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.one_of(modes))
    def ask(case):
        answer = case.call()
        assert answer.status_code < 500 or answer.status_code == 503
        # A form sends its empty fields: they are as good as not there, whatever the document would say to them.
        if "" not in dict(parse_qsl(urlsplit(answer.request.url).query, keep_blank_values=True)).values():
            case.validate_response(answer, excluded_checks=OLDER.get(path, []))

    ask()
