import doctest
import signal
import subprocess
import sys
import threading

import pytest

from fastgrad.training import stop as stopping
from fastgrad.training.stop import Stop

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_before_the_first_question_a_signal_stops_at_once(number):
    with pytest.raises(KeyboardInterrupt), Stop() as stop:
        signal.raise_signal(number)
    assert stop.signum == number


@pytest.mark.parametrize("number", SIGNALS)
def test_from_then_on_it_waits_for_the_next_question(number, capfd):
    with Stop() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            stop.at_once()
    assert "once more stops at once" in capfd.readouterr().err


def test_after_the_last_question_a_signal_stops_at_once():
    with Stop() as stop:
        stop()
        stop.at_once()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_what_was_there_before_is_there_again():
    before = [signal.getsignal(number) for number in SIGNALS]
    with Stop() as stop:
        stop()
        signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize(("first", "second"), [SIGNALS, SIGNALS[::-1]])
def test_a_second_signal_ends_even_what_listens_to_nothing(first, second):
    # Python's own handlers run between two bytecodes, and sum() of a range is one.
    code = """
from fastgrad.training.stop import Stop
with Stop() as stop:
    stop()
    print("ready", flush=True)
    while not stop():
        pass
    print("deaf", flush=True)
    sum(range(10**12))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(first)
        assert process.stdout.readline() == "deaf\n"
        process.send_signal(second)
        assert process.wait() == -second
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


def test_the_doctests_hold():
    failed, attempted = doctest.testmod(stopping)
    assert attempted
    assert not failed
