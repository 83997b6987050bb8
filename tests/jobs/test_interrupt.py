"""Signals while library code has the main thread: an interrupt that was turned into another error is still one."""

from __future__ import annotations

import os
import signal

import pytest

from jobs.running.interrupt import interrupt_of, interruptible


def _library_call(number: signal.Signals) -> None:
    try:
        os.kill(os.getpid(), number)
    except KeyboardInterrupt as error:
        raise RuntimeError("the actor is unavailable") from error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_swallowed_interrupt_is_told(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interruptible() as check:
        check()
        with pytest.raises(RuntimeError) as raised:
            _library_call(number)
        assert isinstance(interrupt_of(raised.value, check), KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(number) is before


def test_another_error_is_none() -> None:
    with interruptible() as check:
        assert interrupt_of(RuntimeError("lost"), check) is None
        asked = KeyboardInterrupt()
        assert interrupt_of(asked, check) is asked
