"""A bound on what something may compute, which ends what would take hours."""

import signal
from contextlib import contextmanager


@contextmanager
def within(limit_s):
    """Fail after so many seconds of this process's own time; others of the machine do not count."""

    def late(*_):
        raise AssertionError(f"not through after {limit_s:g} s")

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
