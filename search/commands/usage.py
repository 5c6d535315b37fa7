"""What is said of a command line that cannot be read: what was seen, what must be, what may have been meant."""

from __future__ import annotations

import re
from importlib import metadata
from typing import TYPE_CHECKING, Any

from vortex_dsl.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

MAX_SHOWN = 80  # characters of what was given
SEEN = ", but is "
# From what the libraries beneath say to what we say. Later ones see what earlier ones made.
WORDS = (
    (r"No such command '(\s*)'\.?", r"there is no command '\1'"),
    (r"No such (option|command):? '?([^'\s]+)'?\.?", r"there is no \1 \2"),
    (r"Missing command", "name a command"),
    # Those that may have been meant come in the alphabet's order.
    (
        r"option (\S+?)\.? ?\(Possible options: ([^)]+)\)",
        lambda m: f"option {m[1]}{did_you_mean(m[1], m[2].split(', '))}",
    ),
    (r"\.? Did you mean '([^']+)'.*\?", r"; did you mean \1?"),
    (r"Invalid value for ('?[^:]+'?): ", r"\1: "),
    (
        r"Input should be (less|greater) than or equal to",
        lambda m: f"must be at {'most' if m[1] == 'less' else 'least'}",
    ),
    (r"Input should be a valid integer.*", "must be a whole number"),
    (r"Unable to parse input string as an integer, exceeded maximum size", "must be a whole number of fewer digits"),
    (r"Input should be a valid number.*", "must be a number"),
    (r"Input should be", "must be"),
    (r"Value error, must", "must"),
    (r"^(?:'-\w' / )?'([^']+)': must", r"\1 must"),
    (
        r"^'?(--[^':]+)'?: (?:Value error, )?(['\"])(.*)\2 is not one of (.+)",
        lambda m: (
            f"{m[1]} must be one of {m[4].replace(chr(39), '')}{SEEN}{shown(m[3])}"
            f"{did_you_mean(m[3], re.findall(r'[a-z_]+', m[4]))}"
        ),
    ),
    (r"Missing (argument|option) '([^']+)'", r"\2 is missing"),
    (r"Option '([^']+)' requires an argument", r"\1 needs a value"),
    (r"Option '([^']+)' requires (\d+) arguments", r"\1 needs \2 values"),
    (r"Option '([^']+)' does not take a value", r"\1 takes no value"),
)
EXTRA = r"^Got unexpected extra arguments?(?:\(s\))? \((.*)\)$"


def sentence(error: Exception, words: Sequence[str], known: Container[str]) -> str:
    """Make one sentence of a usage error of these words, with the command whose help says more.

    `known`: every command by the words that call it.
    """
    context = getattr(error, "ctx", None)
    told = " ".join(error.format_message().split()).rstrip(".")  # type: ignore[attr-defined]
    for theirs, ours in WORDS:
        told = re.sub(theirs, ours, told)
    told = re.sub(EXTRA, lambda m: _unexpected(m[1], context), told)
    if context and told == "there is no option --campaign" and _takes_campaign(context):
        told += f"; a campaign is named without it, as in `{context.command_path} 1`"
    told = told or "this is a group of commands; name one of them"
    seen = _seen(error, words)
    if seen is not None and SEEN not in told:
        told += SEEN + shown(seen)
    return f"{told}; see `{context.command_path if context else _called(words, known)} --help`"


def _called(words: Sequence[str], known: Container[str]) -> str:
    """Give the command that was called, which not every error knows."""
    called = (" ".join(words[:num]) for num in (2, 1))
    return " ".join(["vortex", *[each for each in called if each in known][:1]])


def _unexpected(extra: str, context: Any) -> str:
    """Tell of arguments for which a command has no place; a number is meant for an option that takes a campaign."""
    takes = {name for param in context.command.params for name in param.opts} if context else set()
    meant = f"; did you mean --campaign {extra}?" if extra.isdecimal() and "--campaign" in takes else ""
    return f"there is no place for {extra[:MAX_SHOWN]}{meant}"


def _takes_campaign(context: Any) -> bool:
    return any(param.name == "campaign" for param in context.command.params)


def shown(seen: str) -> str:
    """Give what was seen so that a reader sees it too: quoted where it is nothing, or ends in what is not seen."""
    cut = f"{seen[:MAX_SHOWN]}{'…' * (len(seen) > MAX_SHOWN)}"
    return cut if seen and seen == seen.strip() else f"'{cut}'"


def _seen(error: Exception, words: Sequence[str]) -> str | None:
    """Give the value that was refused; None where it is not known, or where none was given.

    What refused it says best which it was: an option may be repeated, and an argument has no name beside it.
    """
    refusals = getattr(error.__cause__, "errors", None)
    if refusals is not None:
        return str(refusals(include_url=False, include_context=False)[0]["input"])
    return _given(getattr(error, "param", None), words)


def _given(param: object, words: Sequence[str]) -> str | None:
    """Give what stands behind an option; None where that is not known."""
    names = getattr(param, "opts", ())
    for name in names if getattr(param, "param_type_name", "") == "option" else ():
        for i, word in enumerate(words):
            if word == name and i + 1 < len(words):
                return words[i + 1]
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
    return None


def version() -> str:
    """Give the version that is installed."""
    try:
        return metadata.version("vortex-search")
    except metadata.PackageNotFoundError:  # run from its folder
        return "unknown (not installed)"
