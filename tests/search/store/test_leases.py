"""When leases end: by one clock that does not jump, whatever the clocks of machines say."""

import time
from contextlib import closing

import pytest
from fake_measurements import CAMPAIGN, ENVIRONMENT, MINUTE, MOMENT, propose, quarantine, result, task
from sqlalchemy import text

from search.contracts import Claim
from search.records import Status
from search.store.ledger import SqlLedger

DAY_S = 86_400.0


class LeaseContract:
    """Subclasses give a fixture `url` of an empty database."""

    @pytest.fixture
    def ledger(self, url):
        with closing(SqlLedger(url)) as opened:
            yield opened

    def move_clock(self, ledger, by_s):
        """Let all leases look as if the clock had been set back by so much since."""
        with ledger._engine.begin() as connection:
            connection.execute(text("UPDATE evaluation SET lease_until = lease_until + :by"), {"by": by_s})

    def test_a_lease_that_ends_tomorrow_is_not_waited_for(self, ledger):
        ledger.claim(task(), "gone", MINUTE)
        self.move_clock(ledger, DAY_S)
        assert ledger.claim(task(), "heir", MOMENT) is Claim.BUSY
        time.sleep(2 * MOMENT)
        assert ledger.claim(task(), "heir", MINUTE) is Claim.TAKEN

    def test_who_lives_keeps_a_lease_that_ends_tomorrow(self, ledger):
        ledger.claim(task(), "alive", MINUTE)
        self.move_clock(ledger, DAY_S)
        assert ledger.claim(task(), "other", MOMENT) is Claim.BUSY
        ledger.heartbeat([task().key], "alive", MINUTE)
        time.sleep(2 * MOMENT)
        assert ledger.claim(task(), "other", MOMENT) is Claim.BUSY

    def test_what_ends_tomorrow_is_not_counted_as_running(self, ledger):
        campaign = ledger.create_campaign(CAMPAIGN)
        candidate = ledger.add_candidate(propose(campaign, 0))
        ledger.claim(task(), "gone", MINUTE, candidate.id)
        assert ledger.progress(campaign.id).num_running == 1
        self.move_clock(ledger, DAY_S)
        assert ledger.progress(campaign.id).num_running == 0

    def test_a_heartbeat_tells_what_was_lost(self, ledger):
        keys = [task(f"p{number}").key for number in range(3)]
        ledger.claim(task("p0"), "me", MINUTE)
        ledger.claim(task("p1"), "me", MOMENT)
        ledger.claim(task("p2"), "me", MINUTE)
        ledger.finish(result(task("p2")), "other", ENVIRONMENT)
        time.sleep(2 * MOMENT)
        assert ledger.heartbeat(keys, "me", MINUTE) == [keys[2]]
        ledger.claim(task("p1"), "me", MOMENT)
        ledger.heartbeat(keys[1:2], "me", MOMENT)
        time.sleep(2 * MOMENT)
        ledger.claim(task("p1"), "heir", MINUTE)
        assert ledger.heartbeat(keys[:2], "me", MINUTE) == [keys[1]]

    def test_a_death_is_taken_back_and_what_it_led_to(self, ledger):
        campaign = ledger.create_campaign(CAMPAIGN)
        candidate = ledger.add_candidate(propose(campaign, 0))
        quarantine(ledger, task(), candidate)
        assert ledger.records(campaign.id)[0].status is Status.QUARANTINED
        ledger.absolve([task().key])
        assert ledger.records(campaign.id)[0].status is Status.OK
        assert ledger.progress(campaign.id).evaluations == ()
        assert ledger.claim(task(), "heir", MOMENT) is Claim.TAKEN
        ledger.begin([task().key], "heir")
        time.sleep(2 * MOMENT)
        assert ledger.claim(task(), "next", MINUTE).status is Status.QUARANTINED  # that was the third again

    @pytest.mark.parametrize("lease_s", [0.0, -1.0, DAY_S, float("nan")])
    def test_no_lease_is_longer_than_one_that_is_believed(self, ledger, lease_s):
        for ask in (lambda: ledger.claim(task(), "me", lease_s), lambda: ledger.heartbeat([task().key], "me", lease_s)):
            with pytest.raises(ValueError, match="a lease lasts"):
                ask()


class TestSqlite(LeaseContract):
    @pytest.fixture
    def url(self, sqlite_url):
        return sqlite_url

    def test_leases_end_by_a_clock_that_nobody_sets(self, ledger):
        ledger.claim(task(), "me", MINUTE)
        with ledger._engine.begin() as connection:
            until = connection.execute(text("SELECT lease_until FROM evaluation")).scalar()
        assert until == pytest.approx(time.monotonic() + MINUTE, abs=MINUTE / 2)


@pytest.mark.postgres
class TestPostgresql(LeaseContract):
    @pytest.fixture
    def url(self, postgresql_url):
        return postgresql_url
