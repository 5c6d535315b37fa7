"""`vortex db forgive`: programs that were given up get another chance."""

from __future__ import annotations

from typing import Annotated

import typer

from search.commands import options
from search.commands.database import candidate_of, existing
from search.commands.exits import CommandError
from search.commands.output import note, print_json, print_line
from search.store.patience import PATIENCE_S

Names = Annotated[list[str], typer.Argument(metavar="ID", help="Candidates' ids, or the beginnings of their digests.")]


def forgive(names: Names, db: options.Database = options.DATABASE_URL, as_json: options.Json = False) -> None:
    """Lift the quarantine of programs whose worker was lost three times: `vortex resume` measures them again."""
    with existing(db, PATIENCE_S) as ledger:
        candidates = [candidate_of(ledger, name).candidate for name in names]
        try:
            forgiven = ledger.forgive([candidate.id for candidate in candidates])
        except LookupError as error:
            raise CommandError(f"{error.args[0]}; `vortex status` counts those that are") from error
    stages = {each.key.program_digest: each.key.stage for each in forgiven}
    told = [{"id": each.id, "name": each.name, "digest": each.program_digest} for each in candidates]
    told = [row | {"stage": stages[str(row["digest"])]} for row in told if row["digest"] in stages]
    if as_json:
        print_json(told)
        return
    for row in told:
        print_line(f"{row['id']} {row['name']} {row['digest']} may be measured again, from stage {row['stage']} on")
    note("`vortex resume` goes on with the newest campaign, `vortex resume CAMPAIGN` with another")
