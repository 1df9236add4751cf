"""While the source computes an answer, this process does what does not need it."""

import threading

import pytest

from exporter.source.errors import ServerFailed
from exporter.source.meanwhile import meanwhile, question_sent
from tests.support.stub import ONE, Reply, serve
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.usefixtures("fast_retries")


def test_the_work_is_done_after_the_question_was_sent_and_before_it_is_answered(connect):
    arrived, done = threading.Event(), threading.Event()

    def answer(_request):
        arrived.set()
        assert done.wait(PATIENCE)  # no answer before the work is done
        return Reply(ONE)

    def work():
        assert arrived.wait(PATIENCE)
        done.set()

    with serve(answer) as stub, meanwhile(work):
        assert connect(stub.url).once().values.tolist() == [1.0]


def test_it_is_done_once_however_many_questions_there_are_and_attempts_it_takes(connect):
    worked = []
    with serve(Reply(status=503), Reply(ONE)) as stub, meanwhile(lambda: worked.append(len(stub.requests))):
        source = connect(stub.url)
        source.once()
        source.once("other")
        assert len(stub.requests) == 3
    assert len(worked) == 1


def test_nothing_is_left_over_for_questions_after_the_block(connect):
    worked = []
    with serve(Reply(ONE)) as stub:
        source = connect(stub.url)
        with meanwhile(lambda: worked.append(1)):
            pass
        source.once()
        question_sent()
    assert not worked


def test_what_the_work_raises_is_raised_and_the_next_question_is_answered(connect):
    def fail():
        raise MemoryError("no room")

    with serve(Reply(ONE)) as stub:
        source = connect(stub.url, concurrency=1)
        with meanwhile(fail), pytest.raises(MemoryError, match="no room"):
            source.once()
        assert source.once().values.tolist() == [1.0]


def test_a_source_that_fails_after_the_work_was_done_fails_as_ever(connect):
    worked = []
    with serve(Reply(status=500)) as stub, meanwhile(lambda: worked.append(1)), pytest.raises(ServerFailed):
        connect(stub.url, retries=0).once()
    assert worked == [1]


def test_what_is_asked_about_series_does_not_use_it_up(connect):
    worked = []

    def answer(request):
        return Reply(b'{"status":"success","data":["a"]}' if "/label/" in request.path else ONE)

    with serve(answer) as stub, meanwhile(lambda: worked.append(len(stub.requests))):
        source = connect(stub.url)
        assert source.label_values("pod", ["up"], 0.0, 60.0) == ["a"]
        assert not worked
        source.once()
    assert len(worked) == 1
