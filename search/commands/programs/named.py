"""A program by what people type: a file, `-` for stdin, a published rule's name, a candidate's id or digest."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.commands.database import candidate_of, existing
from search.commands.exits import CommandError, ExitCode
from search.commands.output import note
from search.commands.programs.completing import of_rules
from vortex_dsl.errors import did_you_mean, quoted

if TYPE_CHECKING:
    from search.contracts import Ledger
    from search.records import Record
    from vortex_dsl.frontend.program import Program
    from vortex_dsl.tunables import Value

STDIN = "-"
STDIN_NAME = "<stdin>"  # of a text without a file, in errors
HOW = "a file, `-` for stdin, a name that `vortex zoo` lists, or a candidate's id"
LONGEST_DIGEST = 64  # hex digits
MAX_SHOWN = 200  # characters of a name that is not known

ProgramName = Annotated[str, typer.Argument(metavar="PROGRAM", help=f"A program: {HOW}.", autocompletion=of_rules)]
CandidateName = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A candidate: its id, the beginning of its digest, or its program as a file, `-` or a published rule's "
        "name.",
        autocompletion=of_rules,
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Named:
    """A program's text that is not parsed yet, with the name that errors give it, and values of some tunables."""

    text: str
    label: str
    values: tuple[tuple[str, Value], ...] = ()

    def load(self) -> Program:
        """Parse it. Raises ProgramError."""
        from vortex_dsl.frontend.load import parse_program

        return parse_program(self.text, self.label).with_values(**dict(self.values))


def program_named(name: str, db: str) -> Named:
    """Give the program of this name; a file that is there comes first, and `db` is opened for an id alone.

    Raises CommandError where nothing is called so, or the text cannot be read; StoreError.
    """
    text = _text_of(name)
    if text is not None:
        return text
    _check_not_missing(name)
    with existing(db) as ledger:
        proposal = candidate_of(ledger, name).candidate.proposal
    return Named(proposal.text, f"candidate {name}", proposal.values)


def candidate_named(ledger: Ledger, name: str) -> Record:
    """Give the candidate of this name: of a program the newest that is it, as written or at one of its cost ratios.

    Raises CommandError where there is none, ProgramError for a program that is refused.
    """
    from vortex_dsl import ProgramError

    text = _text_of(name)
    if text is None:
        _check_not_meant(name)
        return candidate_of(ledger, name)
    try:
        found = _measured(ledger, text)
    except ProgramError as error:
        raise refused(error, text) from error
    if found is None:
        raise CommandError(
            f"the database holds no candidate with the program {text.label}; `vortex eval {name}` measures it",
            ExitCode.REFUSED,
        )
    return found


def refused(error: Exception, named: Named) -> CommandError:
    """Make the command's error of a ProgramError: its sentence, and the line with a caret under the place."""
    from vortex_dsl import ProgramError

    assert isinstance(error, ProgramError)
    line = shown_line(named.text, error.line) if error.file == named.label else ""
    shown = f"\n  {line}\n  {' ' * (error.column - 1)}^" if line else ""
    return CommandError(f"{error}{shown}", ExitCode.REFUSED)


CARET_WIDTH = 160  # a longer line is not shown


def shown_line(text: str, number: int) -> str:
    """Give a line of a program as a terminal can show it; none where it is long or not to be seen."""
    line = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[number - 1 : number]
    shown = line[0].replace("\t", " ").removeprefix("\ufeff") if line else ""
    return shown if shown.isprintable() and len(shown) <= CARET_WIDTH and "\ufffd" not in shown else ""


def _text_of(name: str) -> Named | None:
    """Give the text that a file, stdin or the zoo has under a name; None where none of them has."""
    from vortex_dsl.zoo import names, path

    if not name:
        raise CommandError(f"the name of a program is empty; give {HOW}")
    if name == STDIN:
        return Named(_stdin(), STDIN_NAME)
    file = Path(name)
    try:
        is_there = file.exists() and not (file.name == name and file.is_dir())  # a folder `2` hides no candidate 2
    except (OSError, ValueError):  # too long for a path, or a NUL in it
        is_there = False
    if not is_there and name in names():
        file, is_there = path(name), True
    return _of_file(file, str(file)) if is_there else None


def _of_file(file: Path, label: str) -> Named:
    from vortex_dsl import ProgramError
    from vortex_dsl.frontend.source import read_text

    try:
        return Named(read_text(file), label)
    except ProgramError as error:
        raise CommandError(str(error), ExitCode.REFUSED) from error


def _stdin() -> str:
    from vortex_dsl import ProgramError
    from vortex_dsl.frontend.source import MAX_BYTES, decoded

    if sys.stdin is None or sys.stdin.closed:
        raise CommandError("stdin is closed, so that no program can be read from it; pipe one in, or name a file")
    if sys.stdin.isatty():
        note("reading a program from the terminal; Ctrl-D on a line of its own ends it")
    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    if not content.strip():
        raise CommandError("stdin holds no program; pipe one in, or name a file")
    try:
        return decoded(content, STDIN_NAME)
    except ProgramError as error:
        raise CommandError(str(error), ExitCode.REFUSED) from error


def _check_not_missing(name: str) -> None:
    """Raise CommandError for what can be no candidate: neither an id nor the beginning of a digest."""
    from vortex_dsl.zoo import names

    is_id = (
        len(name) <= LONGEST_DIGEST and name.isascii() and (name.isdecimal() or not set(name) - set("0123456789abcdef"))
    )
    if is_id and name:
        return
    _check_no_file(name)
    raise CommandError(f"there is no program {quoted(name, MAX_SHOWN)}{did_you_mean(name, names()) or f'; give {HOW}'}")


def _check_no_file(name: str) -> None:
    """Raise CommandError for what can be nothing but the path of a file."""
    if "/" in name or name.endswith(".py"):
        raise CommandError(f"there is no file {quoted(name, MAX_SHOWN)}{_near(Path(name)) or f'; give {HOW}'}")


def _near(file: Path) -> str:
    """Say which program in the same folder may be meant."""
    try:
        return did_you_mean(file.name, (each.name for each in file.parent.glob("*.py")))
    except (OSError, ValueError):  # too long for a path, or a NUL in it
        return ""


def _check_not_meant(name: str) -> None:
    """Raise CommandError for a file that is not there, and for what is nearly a published rule's name."""
    from vortex_dsl.zoo import names

    _check_no_file(name)
    near = did_you_mean(name, names())
    if near:
        raise CommandError(f"there is no candidate {quoted(name, MAX_SHOWN)}{near}")


def _measured(ledger: Ledger, named: Named) -> Record | None:
    """Find a program in the newest campaign that has it: as it was proposed first, else as it was last."""
    from search.parents import REFERENCE, SEED
    from search.records import Status

    text = named.load().text
    for campaign in reversed(ledger.campaigns()):
        same = [
            each.candidate
            for each in ledger.records(campaign.id)
            if each.candidate.status is Status.OK and each.candidate.proposal.text == text
        ]
        if same:
            found = max(same, key=lambda each: (each.proposal.operator in (SEED, REFERENCE), each.id))
            note(f"{named.label} is candidate {found.id} of campaign {campaign.id}, {found.name}")
            return ledger.candidate(found.id)
    return None
