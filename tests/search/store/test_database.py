"""Opening a database: what is made, what is left alone, what is refused and in which words."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from sqlalchemy import inspect, text

from search import doctor
from search.doctor import Level
from search.records import StoredCampaign
from search.store import models, schema
from search.store.database import connect, damage_of
from search.store.errors import StoreError
from search.store.ledger import SqlLedger

CAMPAIGN = StoredCampaign(seed=0, num_candidates=1, proposers=(), model="probe")


def tables(engine):
    with engine.connect() as connection:
        return set(inspect(connection).get_table_names())


class SchemaContract:
    """Subclasses give a fixture `url` of an empty database."""

    @pytest.fixture
    def engine(self, url):
        engine = connect(url)
        yield engine
        engine.dispose()

    def test_migrations_give_exactly_the_models(self, url, engine):
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        SqlLedger(url).close()
        with engine.connect() as connection:
            settings = {"compare_type": True, "version_table": schema.VERSION_TABLE}
            context = MigrationContext.configure(connection, opts=settings)
            assert compare_metadata(context, models.Base.metadata) == []

    def test_opening_again_changes_nothing(self, url):
        with closing(SqlLedger(url)) as ledger:
            campaign = ledger.create_campaign(CAMPAIGN)
        with closing(SqlLedger(url)) as ledger:
            assert ledger.campaigns() == [campaign]

    def test_known_database_is_opened_without_alembic(self, url):
        SqlLedger(url).close()
        code = f"import sys, search.store.ledger as m; m.SqlLedger({url!r}); print('alembic' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"

    def test_downgrade_undoes_everything_and_opening_makes_it_anew(self, url, engine):
        from alembic import command

        SqlLedger(url).close()
        with engine.begin() as connection:
            command.downgrade(schema.configuration(connection), "base")
        assert tables(engine) == {schema.VERSION_TABLE}
        with closing(SqlLedger(url)) as ledger:
            assert ledger.create_campaign(CAMPAIGN).id == 1

    def test_old_ledger_is_brought_to_head_with_all_it_holds(self, url, engine):
        """Deaths counted before there was a note of what had begun are forgotten, unless they ended in quarantine."""
        from alembic import command

        with closing(SqlLedger(url)) as ledger:
            campaign = ledger.create_campaign(CAMPAIGN)
        with engine.begin() as connection:
            command.downgrade(schema.configuration(connection), "0001")
            assert "begun" not in {c["name"] for c in inspect(connection).get_columns("evaluation")}
            _insert_evaluations(connection)
        with closing(SqlLedger(url)) as ledger:
            assert ledger.campaigns() == [campaign]
        with engine.connect() as connection:
            found = connection.execute(text("SELECT num_deaths, begun FROM evaluation ORDER BY id")).all()
        assert [tuple(row) for row in found] == [(0, False), (3, False)]

    def test_standings_of_an_old_ledger_are_told_as_what_they_are(self, url, engine):
        """One row of two machines becomes two, at no ratio; whoever was not measured keeps a place."""
        from alembic import command

        with engine.begin() as connection:
            command.upgrade(schema.configuration(connection), "0002")
            _insert_old_standings(connection)
        with closing(SqlLedger(url)) as ledger:
            rows = ledger.standings()
        told = {(s.id, s.device, s.ratio, s.accuracy, s.speedup, s.recall, s.lengths, s.mixed_lengths) for s in rows}
        assert told == {
            (1, "Xeon", 0.0, 0.9, None, 0.5, (2000, 8000), True),
            (1, "H200", 0.0, None, 2.0, None, (8000,), False),
            (2, "", 0.0, None, None, None, (), False),
        }
        assert {s.confirmed_accuracy for s in rows} == {None, 0.8}
        assert {s.dtype for s in rows} == {""}, "nobody noted it"

    def test_old_version_gets_its_table_back(self, url, engine):
        from alembic import command

        with engine.begin() as connection:
            command.upgrade(schema.configuration(connection), "0002")
            _insert_old_standings(connection)
        SqlLedger(url).close()
        with engine.begin() as connection:
            command.downgrade(schema.configuration(connection), "0002")
            kept = connection.execute(text("SELECT candidate_id FROM standing ORDER BY candidate_id")).scalars().all()
            assert kept == [1, 2]
        with closing(SqlLedger(url)) as ledger:
            assert len(ledger.standings()) == 3

    def test_rows_made_before_dtypes_were_noted_are_kept_and_say_that_none_is_known(self, url, engine):
        from alembic import command

        def columns(connection):
            return {column["name"] for column in inspect(connection).get_columns("standing")}

        with engine.begin() as connection:
            command.upgrade(schema.configuration(connection), "0002")
            _insert_old_standings(connection)
            command.upgrade(schema.configuration(connection), "0003")
            assert "dtype" not in columns(connection)
        for _ in range(2):
            with closing(SqlLedger(url)) as ledger:
                assert {(s.device, s.dtype) for s in ledger.standings()} == {("Xeon", ""), ("H200", ""), ("", "")}
                assert ledger.environment("Xeon").dtype == ""
            with engine.begin() as connection:
                command.downgrade(schema.configuration(connection), "0003")
                assert "dtype" not in columns(connection)
                assert connection.execute(text("SELECT count(*) FROM standing")).scalar() == 3

    def test_stage_of_a_newer_version_is_a_sentence(self, url, engine):
        SqlLedger(url).close()
        with engine.begin() as connection:
            connection.execute(
                text("INSERT INTO workload VALUES ('w', 'search', :definition)"),
                {"definition": '{"stage": "tune", "num_tokens": 1, "num_sequences": 1}'},
            )
        with closing(SqlLedger(url)) as ledger, pytest.raises(StoreError, match="stage 'tune', which this version"):
            ledger.workload("w")

    def test_head_is_the_newest_migration(self, engine):
        from alembic.script import ScriptDirectory

        with engine.connect() as connection:
            assert ScriptDirectory.from_config(schema.configuration(connection)).get_current_head() == schema.HEAD

    def test_newer_schema_is_refused_and_left_alone(self, url, engine):
        SqlLedger(url).close()
        with engine.begin() as connection:
            connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
        before = tables(engine)
        with pytest.raises(StoreError, match="schema '9999', which this version does not know"):
            SqlLedger(url)
        assert tables(engine) == before

    def test_somebody_elses_database_is_refused_and_left_alone(self, url, engine):
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE trials (id INTEGER)"))
        with pytest.raises(StoreError, match=r"something else \(tables trials\)"):
            SqlLedger(url)
        assert tables(engine) == {"trials"}

    def test_looking_whether_it_can_be_used_makes_nothing(self, url, engine):
        if engine.dialect.name == "postgresql":  # of a file that is not there nobody asks
            schema.check(url)
            assert tables(engine) == set()
        SqlLedger(url).close()
        schema.check(url)
        with closing(SqlLedger(url)) as ledger:
            assert ledger.create_campaign(CAMPAIGN).id == 1

    def test_failed_migration_leaves_an_empty_database(self, url, engine, monkeypatch):
        from alembic import command

        upgrade = command.upgrade

        def fail_after(*arguments):
            upgrade(*arguments)
            raise KeyboardInterrupt

        monkeypatch.setattr(command, "upgrade", fail_after)
        with pytest.raises(KeyboardInterrupt):
            SqlLedger(url)
        assert tables(engine) == set()


def _insert_evaluations(connection):
    """One that is unfinished after two deaths, and one in quarantine, as the first schema kept them."""
    connection.execute(text("INSERT INTO source VALUES ('s', 'text')"))
    connection.execute(
        text("INSERT INTO program (digest, source_digest, \"values\", name) VALUES ('p', 's', '[]', '')")
    )
    connection.execute(text("INSERT INTO workload VALUES ('w', 'search', '{}')"))
    columns = (
        "program_digest, stage, workload_digest, model_digest, environment_digest, evaluator_version, seed, repeat"
    )
    for seed, deaths, status in ((0, 2, None), (1, 3, "quarantined")):
        connection.execute(
            text(
                f"INSERT INTO evaluation ({columns}, num_deaths, status, message, correct, answers, elapsed_s) "
                "VALUES ('p', 'probe', 'w', 'm', 'e', '1', :seed, 0, :deaths, :status, '', '', '', 0)"
            ),
            {"seed": seed, "deaths": deaths, "status": status},
        )


OLD_FIGURES = (
    ("check", "Xeon", 8000, "search", "bytes_per_page", 64),
    ("recall", "Xeon", 2000, "search", "recall", 0.5),
    ("probe", "Xeon", 2000, "search", "accuracy", 0.9),
    ("probe", "Xeon", 2000, "held_out", "accuracy", 0.8),
    ("serve", "H200", 8000, "search", "speedup", 2.0),
)


def _insert(connection, table, **values):
    columns = ", ".join(f'"{name}"' for name in values)
    bound = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({bound})"), values)


def _insert_old_standings(connection):
    """A campaign of the second schema: a candidate that two machines measured, in one row, and one never measured."""
    settings = {"proposers": "[]", "model": "probe", "settings": "{}"}
    _insert(connection, "campaign", id=1, seed=0, num_candidates=2, **settings)
    _insert(connection, "source", digest="s", text="text")
    for n in (1, 2):
        program = {"source_digest": "s", "values": "[]", "name": "P"}
        _insert(connection, "program", digest=f"p{n}", **program)
        told = {"proposer": "zoo", "operator": "seed", "parents": "[]", "rationale": "", "status": "ok", "message": ""}
        spent = dict.fromkeys(("prompt_tokens", "completion_tokens", "dollars", "elapsed_s"), 0)
        own = {"id": n, "campaign_id": 1, "step": n, "program_digest": f"p{n}"}
        _insert(connection, "candidate", **own, **program, **told, **spent)
        row = {"candidate_id": n, "campaign_id": 1, "program_digest": f"p{n}", "device": "H200", "status": "ok"}
        _insert(connection, "standing", **row, confirmed=True, accuracy=0.9, speedup=2.0)
    for device in ("Xeon", "H200"):
        where = {"device": device, "driver": "", "python": "3", "torch": "2", "vllm": "0"}
        _insert(connection, "environment", digest=device, definition=json.dumps(where))
    for n, figure in enumerate(OLD_FIGURES, 1):
        _insert_old_evaluation(connection, n, *figure)


def _insert_old_evaluation(connection, n, stage, place, length, split, name, value):
    asked = {"stage": stage, "num_tokens": length, "num_sequences": 1, "split": split, "repeats": 1}
    _insert(connection, "workload", digest=f"w{n}", split=split, definition=json.dumps(asked))
    key = {"program_digest": "p1", "stage": stage, "workload_digest": f"w{n}", "model_digest": "m", "seed": 0}
    where = {"environment_digest": place, "evaluator_version": "1", "repeat": 0}
    ended = {
        "begun": False,
        "num_deaths": 0,
        "status": "ok",
        "message": "",
        "correct": "",
        "answers": "",
        "elapsed_s": 0,
    }
    _insert(connection, "evaluation", id=n, **key, **where, **ended)
    _insert(connection, "measurement", evaluation_id=n, position=0, name=name, value=value, num_samples=1)
    _insert(connection, "candidate_evaluation", candidate_id=1, evaluation_id=n)


class TestSqlite(SchemaContract):
    @pytest.fixture
    def url(self, sqlite_url):
        return sqlite_url


@pytest.mark.postgres
class TestPostgresql(SchemaContract):
    @pytest.fixture
    def url(self, postgresql_url):
        return postgresql_url


def refusal(url):
    """Give the sentence with which a URL is refused."""
    with pytest.raises(StoreError) as refused:
        SqlLedger(url)
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def test_rights_that_a_user_of_postgresql_lacks_are_told_as_that(postgresql_url):
    """Since PostgreSQL 15 whoever is not a database's owner may make no table in it."""
    where = re.search(r"search_path%3D(\w+)", postgresql_url)[1]
    weak = postgresql_url.replace("vortex@", "weak@")

    def granted(statement):
        owner = connect(postgresql_url)
        with owner.begin() as connection:
            connection.execute(text(statement))
        owner.dispose()

    granted("DROP ROLE IF EXISTS weak")
    granted("CREATE ROLE weak LOGIN")
    granted(f"GRANT USAGE ON SCHEMA {where} TO weak")
    assert f"permission denied for schema {where}; its owner can GRANT" in refusal(weak)
    assert "permission denied" in doctor.database(weak).seen
    SqlLedger(postgresql_url).close()
    granted(f"GRANT SELECT ON ALL TABLES IN SCHEMA {where} TO weak")
    SqlLedger(weak, read_only=True).close()
    assert "permission denied for table campaign" in doctor.database(weak).seen
    with closing(SqlLedger(weak)) as ledger, pytest.raises(StoreError, match="permission denied"):
        ledger.create_campaign(CAMPAIGN)
    granted("DROP OWNED BY weak")
    granted("DROP ROLE weak")


def test_sqlite_is_set_up_for_many_writers(sqlite_url):
    ledger = SqlLedger(sqlite_url)
    with ledger._engine.connect() as connection:
        pragmas = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in PRAGMAS}
    ledger.close()
    assert pragmas == PRAGMAS


PRAGMAS = {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 1_000}


def test_relative_database_stays_where_it_was_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with closing(SqlLedger("sqlite:///results.db")) as ledger:
        ledger.close()
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        ledger.create_campaign(CAMPAIGN)
    assert not (tmp_path / "elsewhere" / "results.db").exists()


def test_reader_does_not_wait_for_a_writer(sqlite_url, tmp_path):
    with closing(SqlLedger(sqlite_url)) as ledger:
        ledger.create_campaign(CAMPAIGN)
        with closing(sqlite3.connect(tmp_path / "results.db", isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            assert len(ledger.campaigns()) == 1


def test_missing_folder_is_named(tmp_path):
    assert re.search(r"the folder .*/nowhere does not exist", refusal(f"sqlite:///{tmp_path}/nowhere/results.db"))


def test_folder_in_the_place_of_the_file_is_refused(tmp_path):
    assert "cannot be made: that is a folder" in refusal(f"sqlite:///{tmp_path}")
    assert "cannot be made: that is no regular file" in refusal("sqlite:////dev/null")


def test_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("not a database, " * 100)
    assert "not a database" in refusal(f"sqlite:///{file}")
    assert file.read_text().startswith("not a database")


@pytest.mark.parametrize("exists", [True, False])
def test_unwritable_database_is_refused(tmp_path, exists):
    file = tmp_path / "results.db"
    if exists:
        SqlLedger(f"sqlite:///{file}").close()
        file.chmod(0o444)
    assert opened_in_a_locked_folder(file).startswith("search.store.errors.StoreError: The database sqlite:///")


def opened_in_a_locked_folder(file):
    """Give the last line that a process writes which may not write the file's folder."""
    file.parent.chmod(0o555)
    code = f"from search.store.ledger import SqlLedger; SqlLedger('sqlite:///{file}')"
    command = [*unprivileged(file.parent), sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    file.parent.chmod(0o755)
    return done.stderr.splitlines()[-1]


def unprivileged(folder):
    """Give the beginning of a command under which file permissions hold, as they do not for root."""
    if os.getuid():
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root may write anywhere, and there is no setpriv to stop it")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_memory_is_refused(url):
    assert "a database in memory" in refusal(url)


@pytest.mark.parametrize("url", ["", "mysql://root@localhost/x", "nosuch://x", "postgresql://h:port/x"])
def test_unknown_urls_are_refused_with_a_remedy(url):
    assert "sqlite:///FILE" in refusal(url)


def test_a_file_is_called_by_its_path_where_it_is_only_read(tmp_path):
    file = tmp_path / "a b.db"
    file.touch()
    with pytest.raises(StoreError) as refused:
        SqlLedger(str(file), read_only=True)
    assert f"The database sqlite:///{file} has" in str(refused.value)


def test_unreachable_server_is_told_without_the_password(tmp_path):
    sentence = refusal(f"postgresql://me:secret@/results?host={tmp_path}")
    assert "cannot be used" in sentence
    assert "secret" not in sentence


def test_store_error_needs_no_database_library():
    code = "import sys, search.store; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_damaged_file_is_told_as_that(sqlite_url, tmp_path):
    """SQLite opens it, and a transaction begins: whoever looks no further calls it writable."""
    file = tmp_path / "results.db"
    with closing(SqlLedger(sqlite_url)) as ledger:
        ledger.create_campaign(CAMPAIGN)
    assert damage_of(file) == ""
    assert doctor.database(sqlite_url).level is Level.OK
    whole = bytearray(file.read_bytes())
    whole[4096 * 2 : 4096 * 30] = b"\xff" * (4096 * 28)
    file.write_bytes(whole)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
    found = doctor.database(sqlite_url)
    assert (found.level, found.seen) == (Level.FAIL, damage_of(file))
    assert re.search(r"results\.db is damaged: .*\.recover", found.seen)
    with (
        pytest.raises(StoreError, match=r"malformed; keep a copy .*\.recover"),
        closing(SqlLedger(sqlite_url)) as ledger,
    ):
        ledger.create_campaign(CAMPAIGN)
