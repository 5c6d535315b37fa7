"""`vortex db upgrade`: a database of an older version becomes one of this version."""

from __future__ import annotations

from search.commands import options
from search.commands.exits import CommandError
from search.commands.output import print_json, print_line
from search.telling.passwords import without_passwords


def upgrade(db: options.Database = options.DATABASE_URL, as_json: options.Json = False) -> None:
    """Bring a database to this version's schema, as every other command does when it opens one, and say from which."""
    from search.store.migrations.upgrading import upgrade as bring_up

    try:
        before, after = bring_up(db)
    except FileNotFoundError as error:
        raise CommandError(
            f"there is no database {without_passwords(str(error))}; `vortex run` makes one, --db names another"
        ) from error
    if as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        print_line(f"The database has schema {after}, the newest.")
    else:
        print_line(f"The database was brought from schema {before or 'none'} to {after}.")
