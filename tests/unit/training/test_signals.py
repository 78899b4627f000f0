"""When a signal ends a training, and when it only asks for its end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from latentry.training.loop.signals import Interrupted, Stopped, StopRequest, check_stop


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def code_of(training: Callable[[], None]) -> int:
    with pytest.raises(Stopped) as stopped:
        training()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)])
def test_asked_for_inside_and_obeyed_at_the_end(number: int, code: int) -> None:
    request, told = StopRequest(), list[str]()

    def training() -> None:
        with request.entered(lambda: told.append("told")):
            with request.deferred():
                check_stop()
                send(number)
                with pytest.raises(Interrupted):
                    check_stop()
                told.append("saved")
            told.append("went on")

    assert code_of(training) == code
    assert told == ["saved", "told"]


def test_left_at_once_outside() -> None:
    request, told = StopRequest(), list[str]()

    def training() -> None:
        with request.entered(lambda: told.append("told")):
            send(signal.SIGTERM)
            told.append("went on")

    assert code_of(training) == 143
    assert told == ["told"]


def test_the_loop_says_itself_that_it_stopped() -> None:
    request, told = StopRequest(), list[str]()

    def training() -> None:
        with request.entered(lambda: told.append("told")), request.deferred():
            send(signal.SIGTERM)
            raise Stopped(request.code)

    assert code_of(training) == 143
    assert told == []


def test_further_requests_change_nothing() -> None:
    def training() -> None:
        with StopRequest().entered() as request, request.deferred():
            for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1):
                send(number)

    assert code_of(training) == 143


@pytest.mark.parametrize("launched", [False, True])
def test_a_second_ctrl_c(launched: bool) -> None:
    """Leaves at once, except that torchrun sends a second one for each that was pressed."""
    child = os.fork()
    if child == 0:
        request = StopRequest(launched)
        try:
            with request.entered(), request.deferred():
                send(signal.SIGINT)
                send(signal.SIGINT)
                os._exit(7)
        finally:
            os._exit(8)
    _, status = os.waitpid(child, 0)
    assert os.WEXITSTATUS(status) == (7 if launched else 130)


def test_handlers_are_given_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    with StopRequest().entered():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == before
    check_stop()


def test_another_thread_may_train() -> None:
    """Python gives signals to the main thread alone; asking for them elsewhere is an error."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with StopRequest().entered() as request, request.deferred():
                time.sleep(0)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failed == []
