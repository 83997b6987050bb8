"""Signals while library code has the main thread: an interrupt that was turned into another error is still one."""

from __future__ import annotations

import os
import signal
import time

import pytest

from jobs.running.interrupt import interrupt_of, interruptible, interrupting_when


def _library_call(number: signal.Signals) -> None:
    try:
        os.kill(os.getpid(), number)
    except KeyboardInterrupt as error:
        raise RuntimeError("the actor is unavailable") from error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_swallowed_interrupt_is_reported(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interruptible() as check:
        check()
        with pytest.raises(RuntimeError) as raised:
            _library_call(number)
        assert isinstance(interrupt_of(raised.value, check), KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(number) is before


def test_a_limit_interrupts_what_waits() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interruptible(), interrupting_when(lambda: True, every_s=0.05):
        time.sleep(30)
    assert time.monotonic() - began < 20
    with interruptible() as check, interrupting_when(lambda: False, every_s=0.01):
        time.sleep(0.05)
        check()


def test_another_error_is_none() -> None:
    with interruptible() as check:
        assert interrupt_of(RuntimeError("lost"), check) is None
        asked = KeyboardInterrupt()
        assert interrupt_of(asked, check) is asked
