"""`vortex doctor`: is this machine fit to search?"""

from __future__ import annotations

from search.commands import options
from search.commands.exits import ExitCode
from search.commands.output import print_data, print_json

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(db: options.Database = options.DATABASE_URL, as_json: options.Json = False) -> int:
    """Check what a search needs of this machine, and say how to mend what is missing."""
    from search.doctor import Level, examine

    findings = examine(db)
    if as_json:
        print_json(findings)
    else:
        from rich.table import Table
        from rich.text import Text

        drawn = Table("", "what")
        for heading in ("seen", "remedy"):
            drawn.add_column(heading, overflow="fold")
        for finding in findings:
            level = Text(finding.level, style=STYLES[finding.level])
            drawn.add_row(level, finding.name, Text(finding.seen), Text(finding.remedy))
        print_data(drawn)
    failed = any(finding.level is Level.FAIL for finding in findings)
    return ExitCode.INFRASTRUCTURE if failed else ExitCode.DONE
