"""The `vortex` command: which commands there are, and how everything that goes wrong is told."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from search.commands import campaign, dash, doctor, model, plugin, replay, report, results
from search.commands.agents import journal
from search.commands.cluster import listing, worker
from search.commands.databases import forgive, upgrade
from search.commands.exits import CommandError, ExitCode, codes_told, explain
from search.commands.output import make_streams_robust, print_line
from search.commands.outside import guiding, serving, telling
from search.commands.programs import check, zoo
from search.commands.ranking import compare, leaderboard
from search.commands.usage import sentence, version
from search.commands.watching.ending import ENDING, leave
from search.report.wording import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_SENTENCE = 2000  # characters of what went wrong, in which names of others may stand
DEBUG = "--debug"
DEBUG_VARIABLE = "VORTEX_DEBUG"
# Typer bundles click in some versions and imports it in others; this is click's ClickException in both.
UsageError: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="vortex",
    help="Invent, serve, measure and rank sparse attention for vLLM.",
    epilog=f"Exit codes: {codes_told()}.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(is_asked: bool) -> None:
    """Print what is installed, and end."""
    if is_asked:
        print_line(f"vortex {version()}")
        raise typer.Exit


@app.callback()
def _everywhere(
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of an error; goes anywhere.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Invent, serve, measure and rank sparse attention for vLLM."""


app.command("check")(check.check)
app.command("zoo")(zoo.zoo)
app.command("model")(model.model)
app.command("eval")(campaign.evaluate)
app.command("run")(campaign.run)
app.command("resume")(campaign.resume)
app.command("replay")(replay.replay)
app.command("status")(results.status)
app.command("leaderboard")(leaderboard.leaderboard)
app.command("compare")(compare.compare)
app.command("show")(results.show)
app.command("journal")(journal.journal)
app.command("report")(report.report)
app.command("dash")(dash.dash)
app.command("ask")(telling.ask)
app.command("tell")(telling.tell)
app.command("mcp")(serving.mcp)
app.command("agents-guide")(guiding.guide)
app.command("export")(plugin.export)
app.command("verify")(plugin.verify)
app.command("worker")(worker.worker)
app.command("cluster")(listing.cluster)
app.command("doctor")(doctor.doctor)

database = typer.Typer(name="db", help="Mend and upgrade a database.", no_args_is_help=True)
database.command("forgive")(forgive.forgive)
database.command("upgrade")(upgrade.upgrade)


@database.callback()
def _of_databases() -> None:
    """Mend and upgrade a database."""


app.add_typer(database)


def commands() -> dict[str, Any]:
    """Give every command by the words that call it: those of a group as "db forgive"."""
    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {f"{name} {each}": inner[each] for each in inner} if inner else {name: command}
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; nothing that goes wrong leaves here as a traceback.

    Without `arguments` it is what the process was started for, and a signal that ends it ends the process.
    """
    code = _ended(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and code in ENDING.values():
        leave(code)
    return code


def _ended(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code."""
    given = list(arguments)
    debug = DEBUG in given or bool(os.environ.get(DEBUG_VARIABLE))
    words = [each for each in given if each != DEBUG] or ["--help"]
    make_streams_robust()
    try:
        return _run([_text(each) for each in words])
    except UsageError as error:
        return _say(sentence(error, words, commands()), ExitCode.USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        _discard(sys.stdout)
        return ExitCode.DONE
    except Exception as error:  # the edge: what nobody foresaw is told in one sentence too
        if debug:
            traceback.print_exc()
        return _tell(error)


def _run(words: list[str]) -> int:
    """Run one command; what Typer would turn into an exit of its own comes out as it was raised."""
    try:
        ended = app(words, prog_name="vortex", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as error:
        raise error.__context__ or error from None
    if ended == ExitCode.INTERRUPTED and not isinstance(ended, ExitCode):
        raise KeyboardInterrupt
    return int(ended or 0)


def _text(word: str) -> str:
    """Give an argument back if it is text; bytes that are not would fail wherever they are kept or printed."""
    try:
        word.encode()
    except UnicodeEncodeError as error:
        raise CommandError(f"the argument {word!a} is not UTF-8; write it, or name the file, in UTF-8") from error
    return word


def _tell(error: Exception) -> int:
    """Say in one sentence what went wrong and give the exit code."""
    explained = explain(error)
    if explained is None:
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        explained = CommandError(
            f"this is a bug, please report it with what the same command says under {DEBUG} ({told})",
            ExitCode.INFRASTRUCTURE,
        )
    return _say(str(explained), explained.code)


def _say(told: str, code: ExitCode) -> int:
    if len(told) > MAX_SENTENCE:  # a name is as long as that, and what is wrong with it is said at the end
        told = f"{told[: MAX_SENTENCE // 2]}…{told[-MAX_SENTENCE // 2 :]}"
    try:
        sys.stderr.write(f"vortex: {shown(told, MAX_SENTENCE + 1)}\n")
    except OSError:  # a full disk behind it, say: the code tells as much as can be told
        _discard(sys.stderr)
    return code


def _discard(stream: TextIO) -> None:
    """Let what a stream still holds go nowhere: Python would complain again at its exit, by a code of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
