"""How a command ends: exit codes that scripts rely on, and the errors that are sentences for people."""

from __future__ import annotations

import locale
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process's exit status means."""

    DONE = 0
    REFUSED = 1  # the program, the wheel or a check was refused
    USAGE = 2
    NO_FEASIBLE = 3  # the search ended without one program that passed every stage
    INFRASTRUCTURE = 4
    HUNG_UP = 129  # by SIGHUP: the terminal is gone
    INTERRUPTED = 130
    TERMINATED = 143  # by SIGTERM


TOLD = {ExitCode.REFUSED: "refused or failed check", ExitCode.NO_FEASIBLE: "no feasible candidate"}


def codes_told() -> str:
    """Tell every exit code with what it means, in one line."""
    return ", ".join(f"{code.value} {TOLD.get(code, code.name.lower().replace('_', ' '))}" for code in ExitCode)


class CommandError(Exception):
    """Something the person at the keyboard can mend: one sentence that says what and how."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code


def explain(error: Exception) -> CommandError | None:
    """Give the sentence and the exit code of an error that some room raises on purpose; None for a bug.

    The rooms' errors are imported here and now: when all goes well nobody pays for them.
    """
    if isinstance(error, CommandError):
        return error
    message = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename is not None else ""
        return CommandError(f"{place}{error.strerror}", ExitCode.INFRASTRUCTURE)
    if isinstance(error, UnicodeDecodeError) and (here := locale.getpreferredencoding(False)).upper() != "UTF-8":
        told = f"a library reads its own files as {here} here, and they are UTF-8; set PYTHONUTF8=1, or LC_ALL=C.UTF-8"
        return CommandError(f"{told} ({message})", ExitCode.INFRASTRUCTURE)
    for kind, code in _deliberate_errors():
        if isinstance(error, kind):
            return CommandError(message, code)
    return None


def _deliberate_errors() -> tuple[tuple[type[Exception], ExitCode], ...]:
    from search.config import ConfigError
    from search.contracts import SubmissionError
    from search.evaluator.cluster import PoolError
    from search.evaluator.models import ModelError
    from search.plugin.export import ExportError, OutputError
    from search.plugin.verify import VerifyError
    from search.ranking.comparison import IncomparableError
    from search.ranking.conditions import ConditionError
    from search.store.errors import NoDatabaseError, StoreError
    from vortex_dsl.errors import ProgramError

    return (
        (ProgramError, ExitCode.REFUSED),
        (OutputError, ExitCode.INFRASTRUCTURE),  # an ExportError too
        (ExportError, ExitCode.REFUSED),
        (VerifyError, ExitCode.REFUSED),
        (ConfigError, ExitCode.USAGE),
        (ModelError, ExitCode.USAGE),
        (SubmissionError, ExitCode.USAGE),
        (ConditionError, ExitCode.USAGE),
        (IncomparableError, ExitCode.USAGE),
        (NoDatabaseError, ExitCode.USAGE),  # a StoreError too
        (StoreError, ExitCode.INFRASTRUCTURE),
        (PoolError, ExitCode.INFRASTRUCTURE),
    )
