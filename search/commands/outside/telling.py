"""`vortex ask` and `vortex tell`: JSON on stdin and stdout, for agents and scripts that speak no MCP."""

from __future__ import annotations

import sys

from search.commands import options
from search.commands.database import existing
from search.commands.exits import CommandError, ExitCode
from search.commands.output import print_json
from search.store.patience import PATIENCE_S


def ask(db: options.Database = options.DATABASE_URL) -> None:
    """Ask what to invent next: read {"agent": NAME, "campaign": ID} on stdin, write a brief and its ticket."""
    from search.outside.gateway import Gateway
    from search.outside.messages import MAX_MESSAGE, Ask, read
    from search.store.rows import UNCOLLECTED

    given = read(Ask, sys.stdin.buffer.read(MAX_MESSAGE + 1))
    # A process that answers once and ends: what it makes of a large ledger is no garbage until then.
    with existing(db) as ledger, UNCOLLECTED:
        asked = Gateway(ledger, given.agent, given.campaign).brief()
    print_json({"ticket": asked.ticket, "brief": asked.text})


def tell(db: options.Database = options.DATABASE_URL) -> int:
    """Bring a program for the next step: read {"agent": NAME, "ticket": TICKET, "program": TEXT} on stdin.

    What became of it is written: with "wait_s" after so long, or with its last result. With "submission", its number,
    instead of a program, it is that of an earlier one.
    """
    from search.outside.fates import State
    from search.outside.gateway import Gateway
    from search.outside.messages import MAX_MESSAGE, Tell, read

    given = read(Tell, sys.stdin.buffer.read(MAX_MESSAGE + 1))
    if (given.submission is None) == (not given.program):
        raise CommandError("stdin must hold either a program or the number of a submission; give one of the two")
    with existing(db, PATIENCE_S) as ledger:
        gateway = Gateway(ledger, given.agent, given.campaign)
        number = given.submission
        if number is None:
            fate = gateway.submit(**given.brought)
            number = fate.submission
        if number:
            fate = gateway.wait(number, given.wait_s, options.LARGEST)
        print_json(fate)
    return ExitCode.REFUSED if fate.state is State.REFUSED else ExitCode.DONE
