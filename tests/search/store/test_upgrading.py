"""Databases that older versions really wrote, with data in them, brought to this version's schema.

`older/VERSION.sql` is what the last code of that schema wrote into SQLite: one campaign, two programs and a refused
text, five evaluations, one of them unfinished. No code ever wrote 0006 and 0007: they are passed on the way.
"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import MetaData, inspect, text

from search.cli import main
from search.records import Status, StoredCampaign
from search.store import schema
from search.store.database import connect
from search.store.errors import StoreError
from search.store.ledger import SqlLedger
from search.store.migrations.upgrading import upgrade

OLDER = sorted(Path(__file__).parent.joinpath("older").glob("*.sql"))
VERSIONS = [path.stem for path in OLDER]
# Written anew from evaluations when a database is brought to head; its version is told apart.
DERIVED = {"standing", "tally", schema.VERSION_TABLE}
# What migration 0002 says it forgets: whose worker was lost before there was a note of what had begun.
FORGOTTEN = {"num_deaths"}


def restored(path, file):
    """Make the SQLite file that an older version wrote; give its URL."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(path.read_text())
    return f"sqlite:///{file}"


def rows(url, but=DERIVED):
    """Give every row of every table but some, by table, as dictionaries in a fixed order."""
    engine = connect(url)
    with engine.connect() as connection:
        metadata = MetaData()
        metadata.reflect(connection)
        found = {
            name: [dict(row) for row in connection.execute(table.select()).mappings()]
            for name, table in metadata.tables.items()
            if name not in but
        }
    engine.dispose()
    return {name: sorted(each, key=repr) for name, each in found.items()}


def copied(old, version, url):
    """Make the tables of a version on PostgreSQL by its migrations and fill them with an SQLite database's rows."""
    from alembic import command

    held, engine = rows(old, but={schema.VERSION_TABLE}), connect(url)
    with engine.begin() as connection:
        command.upgrade(schema.configuration(connection), version)
        metadata = MetaData()
        metadata.reflect(connection)
        for table in metadata.sorted_tables:
            if held.get(table.name):
                connection.execute(table.insert(), held[table.name])
                _go_on_counting(connection, table.name)
    engine.dispose()
    return url


def _go_on_counting(connection, table):
    """Let the database's own numbers begin after those that were copied."""
    columns = {column["name"] for column in inspect(connection).get_columns(table)}
    if "id" in columns:
        sequence = f"pg_get_serial_sequence('{table}', 'id')"
        connection.execute(text(f"SELECT setval({sequence}, (SELECT max(id) FROM {table}))"))


def measured(url):
    """Give what is counted of evaluations."""
    return [row for row in rows(url, but=())["tally"] if row["kind"] == "measured"]


def test_every_schema_that_code_had_is_here():
    revisions = [path.name[1:5] for path in Path(schema.__file__).parent.glob("migrations/versions/r*.py")]
    assert set(VERSIONS) | {"0006", "0007", schema.HEAD} >= set(revisions), "keep a database of the version before it"


class UpgradeContract:
    """Subclasses give a fixture `older`: a function from a path of `OLDER` to the URL of such a database."""

    @pytest.mark.parametrize("path", OLDER, ids=VERSIONS)
    def test_nothing_is_lost_and_it_is_a_ledger_as_any_other(self, older, path):
        url = older(path)
        before = rows(url)
        assert upgrade(url) == (path.stem, schema.HEAD)
        after = rows(url)
        for table, held in before.items():
            kept = FORGOTTEN if table == "evaluation" and path.stem == "0001" else set()
            columns = [set(row) - kept for row in held]
            ours = [{name: row[name] for name in names} for row, names in zip(held, columns, strict=True)]
            theirs = [{n: row[n] for n in names} for row, names in zip(after[table], columns, strict=True)]
            assert sorted(theirs, key=repr) == sorted(ours, key=repr), table
        assert len(before["measurement"]) == 5
        with closing(SqlLedger(url)) as ledger:
            campaign = ledger.campaign(None)
            assert (campaign.seed, campaign.num_candidates, campaign.proposers) == (7, 100, ("grammar", "baseline"))
            told = {(s.name, s.accuracy, s.speedup, s.confirmed_accuracy) for s in ledger.standings()}
            assert told == {("P0", 0.9, 1.5, 0.85), ("P1", 0.6, None, None)}
            found = ledger.find("p1").candidate
            assert (found.proposal.parents, found.proposal.rationale) == (("p0",), "smaller steps")
            assert [r.candidate.status for r in ledger.records(campaign.id)][2] is Status.PROGRAM_ERROR
            took = {(t.stage, t.split): (t.num_ran, t.num_ended) for t in ledger.progress(campaign.id).took}
            assert took == {("probe", "search"): (2, 2), ("serve", "search"): (1, 1), ("probe", "held_out"): (1, 1)}
            new = ledger.create_campaign(StoredCampaign(seed=1, num_candidates=1, proposers=(), model="probe"))
            assert new.id == campaign.id + 1

    def test_a_second_time_changes_nothing(self, older):
        url = older(OLDER[0])
        upgrade(url)
        before = rows(url)
        assert upgrade(url) == (schema.HEAD, schema.HEAD)
        assert rows(url) == before

    def test_a_database_newer_than_the_code_is_a_sentence_and_left_alone(self, older):
        url = older(OLDER[-1])
        engine = connect(url)
        with engine.begin() as connection:
            connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
        engine.dispose()
        before = rows(url)
        with pytest.raises(StoreError, match=r"schema '9999', which this version does not know .*: upgrade vortex"):
            upgrade(url)
        assert rows(url) == before

    def test_counts_go_back_to_what_they_were(self, older):
        """Version 0010 counted by stage and status."""
        from alembic import command

        path = next(each for each in OLDER if each.stem == "0010")
        url = older(path)
        before = measured(url)
        upgrade(url)
        engine = connect(url)
        with engine.begin() as connection:
            command.downgrade(schema.configuration(connection), "0010")
        engine.dispose()
        assert measured(url) == before


class TestSqlite(UpgradeContract):
    @pytest.fixture
    def older(self, tmp_path):
        return lambda path: restored(path, tmp_path / "results.db")


@pytest.mark.postgres
class TestPostgresql(UpgradeContract):
    @pytest.fixture
    def older(self, tmp_path, postgresql_url):
        return lambda path: copied(restored(path, tmp_path / "old.db"), path.stem, postgresql_url)


def called(capsys, *arguments):
    code = main(["db", "upgrade", *arguments])
    return code, *capsys.readouterr()


def test_the_command_says_from_where_to_where(tmp_path, capsys):
    url = restored(OLDER[2], tmp_path / "results.db")
    assert called(capsys, "--db", url) == (0, f"The database was brought from schema 0003 to {schema.HEAD}.\n", "")
    assert called(capsys, "--db", url) == (0, f"The database has schema {schema.HEAD}, the newest.\n", "")
    code, out, _ = called(capsys, "--db", url, "--json")
    assert (code, json.loads(out)) == (0, {"before": schema.HEAD, "after": schema.HEAD})


def test_the_command_makes_no_database(tmp_path, capsys):
    code, out, err = called(capsys, "--db", f"sqlite:///{tmp_path}/none.db")
    assert (code, out) == (2, "")
    assert err.startswith(f"vortex: there is no database {tmp_path}/none.db; ")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_ledger_is_a_sentence(tmp_path, capsys):
    file = tmp_path / "other.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE trials (id INTEGER)")
    code, _, err = called(capsys, "--db", f"sqlite:///{file}")
    assert code == 4
    assert "something else (tables trials)" in err
