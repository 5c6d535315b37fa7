"""Campaigns from Python: `from search import Campaign`, for notebooks and scripts."""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from search.campaigns.endpoints import check_served, endpoints_of
from search.campaigns.machines import Machines, facts_of, facts_to_serve
from search.campaigns.proposers import proposers_of
from search.campaigns.reading import read_setup
from search.campaigns.settings import settings_of, wishes_of
from search.config import CampaignConfig, ConfigError
from search.loop import Loop, start_campaign
from search.observer import Observer, Silent
from search.outcome import Outcome
from search.telling.passwords import without_passwords

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from search.contracts import Evaluator, Ledger
    from search.ranking.standing import Standing
    from search.records import Record, StoredCampaign

ELSEWHERE = ("db", "workers", "ray", "gpus", "endpoints")  # what a campaign may change when it goes on


class Campaign:
    """A search that Python code drives: what `vortex run` does, one finished candidate after the other.

    Keywords are the keys of a campaign file (docs/campaigns.md), and `file` is such a file, which they override.

        with Campaign(model="smollm2", ratios=(8,), candidates=50) as campaign:
            for record in campaign:
                print(record.candidate.name, record.status)
            print(campaign.leaderboard()[0].name)

    The first step starts the workers; leaving the `with` block, or `close`, ends them. Leaving the iteration drains the
    campaign: what runs is finished, nothing new begins, and a later iteration, `run` or `Campaign.resume` goes on.
    With an `evaluator` of your own, which you close, no workers are started: several campaigns may share one. Raises
    ConfigError for a key that is unknown, of the wrong type or out of range, ModelError, ProgramError and PoolError.

    What the ledger stores of it is a `search.records.StoredCampaign`.
    """

    def __init__(
        self,
        file: str | Path | None = None,
        *,
        evaluator: Evaluator | None = None,
        resumed: int | None = None,
        **keys: Any,
    ) -> None:
        """Store a new campaign, or find the one whose number is `resumed`. Nothing is started yet."""
        from search.store.ledger import SqlLedger

        if resumed is not None:
            _check_resumed(keys)
        setup = read_setup(None if file is None else Path(file), keys, goes_on=resumed is not None)
        new = setup.agents() if resumed is None else None
        config = settings_of(setup, facts_of(setup.model)) if resumed is None else None
        with ExitStack() as opened:
            self._ledger: Ledger = opened.enter_context(closing(SqlLedger(setup.db, patience_s=setup.max_outage)))
            self.stored = start_campaign(self._ledger, config) if config else _found(self._ledger, resumed, setup.db)
            self.config = CampaignConfig.from_json(self.stored.settings)
            self._endpoints = new or endpoints_of(self.config.endpoints, setup.endpoints, self.config.max_dollars)
            self._proposers = proposers_of(self.config, self._endpoints, setup.max_outage)
            self._opened = opened.pop_all()
        self._setup, self._evaluator = setup, evaluator
        self._loop: Loop | None = None
        self._thread: threading.Thread | None = None
        self.outcome: Outcome | None = None

    @classmethod
    def resume(cls, campaign_id: int, file: str | Path | None = None, **keys: Any) -> Self:
        """Go on with a stored campaign: its settings are kept with it; `db`, machines and endpoints are keys as above.

        Raises ConfigError for a key that the campaign has settled already, and where there is no such campaign.
        """
        return cls(file, resumed=campaign_id, **keys)

    @property
    def id(self) -> int:
        """The campaign's number in its database, by which `vortex` commands and `resume` find it."""
        return self.stored.id

    def run(self) -> Outcome:
        """Search to the end, or until `stop` is called from elsewhere, and give what came of it."""
        for _ in self:
            pass
        assert self.outcome is not None
        return self.outcome

    def __iter__(self) -> Iterator[Record]:
        """Give each candidate that has no stage left, in the order in which they finish, and go on meanwhile.

        Raises what stopped the loop, where that is a fault. Ctrl-C drains.
        """
        if self._loop is not None:
            raise RuntimeError("this campaign is being run already; one iteration at a time")
        heard: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        faults: list[BaseException] = []
        self._loop = loop = self._new_loop(_Heard(heard))

        def search() -> None:
            try:
                self.outcome = loop.run()
            except BaseException as fault:  # raised below, in the thread of whoever iterates
                faults.append(fault)
            finally:
                heard.put(None)

        self._thread = threading.Thread(target=search, name=f"campaign-{self.id}", daemon=True)
        self._thread.start()
        try:
            while (record := heard.get()) is not None:
                yield record
        finally:
            loop.drain()
            self._thread.join()
            self._loop = None
        if faults:
            raise faults[0]

    def stop(self) -> None:
        """Finish what runs and begin nothing new; the iteration ends. Safe from any thread, and where nothing runs."""
        if self._loop is not None:
            self._loop.drain()

    def leaderboard(self) -> list[Standing]:
        """Give what was found so far, best first: a row for each candidate and cost ratio."""
        return self._ledger.standings(self.id)

    def records(self) -> list[Record]:
        """Give every candidate so far with what was measured of it, in step order; the held-out split aside."""
        return self._ledger.records(self.id)

    def close(self) -> None:
        """Stop at once, kill the workers and let go of the database. Idempotent."""
        if self._loop is not None and self._thread is not None:
            self._loop.stop()
            self._thread.join()
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        ended = f", {self.outcome.end}" if self.outcome else ""
        return f"<campaign {self.id} on {self.config.model}{ended}>"

    def _new_loop(self, observer: Observer) -> Loop:
        if self._evaluator is None:
            check_served(self._endpoints, self.config.proposers, logging.getLogger(__name__).warning)
            setup, config = self._setup, self.config
            facts = facts_to_serve(config.model)
            machines = Machines(facts, config.workloads, wishes_of(setup), setup.ray, setup.max_outage)
            self._evaluator = self._opened.enter_context(machines.pool())
        return Loop(self._ledger, self._evaluator, self._proposers, self.stored, observer)


class _Heard(Silent):
    """Passes on what is finished, once: leaders may be timed in the end."""

    def __init__(self, heard: queue.SimpleQueue[Record | None]) -> None:
        self._heard = heard
        self._steps: set[int] = set()

    def on_finished(self, record: Record) -> None:
        """Pass it on."""
        if record.candidate.step not in self._steps:
            self._steps.add(record.candidate.step)
            self._heard.put(record)


def _check_resumed(keys: Mapping[str, Any]) -> None:
    settled = [key for key in keys if key not in ELSEWHERE]
    if settled:
        raise ConfigError(
            f"{settled[0]} is settled for a campaign that goes on, where {', '.join(ELSEWHERE)} may be given; leave it "
            "out, or start another campaign"
        )


def _found(ledger: Ledger, campaign_id: int | None, db: str) -> StoredCampaign:
    try:
        return ledger.campaign(campaign_id)
    except LookupError as error:
        raise ConfigError(f"{error.args[0]} in {without_passwords(db)}; db names another database") from None
