"""A row that a person has edited is told with what is odd about it, and not as a bug of ours."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from search.cli import main
from search.commands.exits import ExitCode
from search.store.ledger import SqlLedger
from search.store.shown.odd import odd_row

OLDER = sorted(Path(__file__).parents[1].joinpath("store", "older").glob("*.sql"))
SHOW, BOARD, STATUS = ("show", "1"), ("leaderboard",), ("status",)
# A change, the command that falls over it, and what is told.
CHANGES = {
    "UPDATE candidate SET parents = '[oops' WHERE id = 1": (
        SHOW, "in table candidate, row id 1, parents is '[oops' and must be a JSON list of texts",
    ),
    "UPDATE candidate SET \"values\" = '[1, 2]' WHERE id = 1": (
        SHOW, "in table candidate, row id 1, values is '[1, 2]' and must be a JSON list of pairs",
    ),
    "UPDATE candidate SET dollars = 'dear' WHERE id = 1": (
        SHOW, "in table candidate, row id 1, dollars is 'dear' and must be a number",
    ),
    "UPDATE campaign SET proposers = 7": (STATUS, "in table campaign, row id 1, proposers is 7 and must be"),
    "UPDATE campaign SET created_at = 'yesterday'": (STATUS, "created_at is 'yesterday' and must be a time"),
    "UPDATE workload SET definition = '{}'": (SHOW, "definition is '{}' and must be a JSON object with num_sequences"),
    "UPDATE environment SET definition = json_remove(definition, '$.device')": (
        SHOW, "and must be a JSON object with device, driver",
    ),
    "UPDATE measurement SET value = 'good'": (SHOW, "value is 'good' and must be a number"),
    "UPDATE evaluation SET stage = 'screen', answers = 'abcd' WHERE id = 1": (
        SHOW, "row id 1, of a screen, answers is 'abcd' and must be a signature of behaviour, 256 hex digits",
    ),
    "UPDATE standing SET lengths = 'x'": (BOARD, "lengths is 'x' and must be whole numbers with commas between"),
}  # fmt: skip


@pytest.fixture(params=[OLDER[-1]], ids=lambda path: path.stem)
def db(request, tmp_path):
    """A database with a campaign, two programs and five evaluations, brought to the newest schema."""
    file = tmp_path / "results.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(request.param.read_text())
    SqlLedger(f"sqlite:///{file}").close()
    return str(file)


@pytest.mark.parametrize("db", OLDER, indirect=True, ids=lambda path: path.stem)
def test_nothing_is_odd_about_what_versions_of_ours_wrote(db):
    with closing(SqlLedger(db)) as ledger, ledger.engine.begin() as connection:
        assert odd_row(connection) == ""


@pytest.mark.parametrize("change", CHANGES)
def test_a_row_that_was_edited_is_told(change, db, capsys):
    words, told = CHANGES[change]
    with closing(sqlite3.connect(db)) as connection, connection:
        assert connection.execute(change).rowcount
    assert main([*words, "--db", db]) == ExitCode.INFRASTRUCTURE
    said = capsys.readouterr().err
    assert told in said
    assert "Mend that row, or take a copy of the database from before it was edited or damaged" in said
    assert "bug" not in said


def test_a_row_that_refers_to_none_is_odd(db):
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("DELETE FROM source")
    with closing(SqlLedger(db)) as ledger, ledger.engine.begin() as connection:
        assert "refers to a row of table source that is not there" in odd_row(connection)


def test_what_fails_on_no_odd_row_is_still_a_bug(db, capsys, monkeypatch):
    def failing(*_):
        raise TypeError("ours")

    monkeypatch.setattr("search.commands.results.campaign_of", failing)
    assert main(["status", "--db", db]) == ExitCode.INFRASTRUCTURE
    assert "this is a bug" in capsys.readouterr().err
