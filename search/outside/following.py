"""A campaign that goes on, kept in memory: what is settled is read once, however often somebody asks."""

from __future__ import annotations

from collections import ChainMap, Counter
from threading import Lock
from typing import TYPE_CHECKING

from search.agents.seeds import Seeds
from search.archive.allowance import Allowance
from search.archive.archivist import archive_of
from search.archive.history import History
from search.archive.published import Published
from search.archive.views import KnownBefore
from search.campaigns.stopping import reason_to_stop
from search.config import CampaignConfig
from search.records import Status
from search.stages import next_workload

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from search.contracts import Ledger
    from search.records import Context, Record, StoredCampaign

    Counts = Counter[object]

END = 2**62  # no campaign has so many steps
MOST_FOLLOWED = 2  # campaigns: one that is asked about, and one before it


class Following:
    """The records of a campaign and what they come to, as of the last `refresh`.

    A refresh reads the steps from the first that is not settled on. Seldom more has changed: a leader that is timed in
    the end, a quarantine that was lifted, another machine that measures all again. The ledger's own counts tell of
    that, and then everything is read anew.
    """

    def __init__(self, ledger: Ledger, campaign: StoredCampaign) -> None:
        self._ledger, self._campaign_id = ledger, campaign.id
        self._config = CampaignConfig.from_json(campaign.settings)
        self._num_given = Seeds(self._config).num
        self._forget()

    def _forget(self) -> None:
        self._history = History(self._config, self._num_given)
        self._known: dict[str, int] = {}  # digests, and the first settled step that has each
        self._known_under_way: dict[str, int] = {}  # those of other steps alone
        self._through: set[int] = set()  # steps of which it was found that no stage is left
        self._settled: Counts = Counter()  # of settled records alone
        self._counts: Counts = Counter()  # of all
        self._context: Context | None = None
        self._end: str | None = None

    def refresh(self) -> None:
        """Bring it up to date. Costs no more than looking where nothing has come since."""
        before = self._counted_by_the_ledger()
        if before == self._counts:
            return
        is_all = not self._history.num_settled
        self._take(self._ledger.records(self._campaign_id, range(self._history.num_settled, END)))
        if not is_all and not _between(before, self._counts, self._counted_by_the_ledger()):
            self._forget()
            self._take(self._ledger.records(self._campaign_id))

    @property
    def context(self) -> Context:
        """Give what a step would be shown that knew all that is measured so far, of steps that are under way too.

        Who is called by the loop knows less, by the lag: its answers must not hang on the clock. What comes from
        outside does in any case, and is recorded as it came.
        """
        if self._context is None:
            num, records = self._history.num_steps, tuple(self._history.records)
            seen = KnownBefore(ChainMap(self._known, self._known_under_way), num)
            self._context = self._config.context(num, records, seen, self._history.archive_ahead(num))
        return self._context

    @property
    def end(self) -> str:
        """Say why the campaign takes no more programs, nothing where it does."""
        if self._end is None:
            self._end = end_of(self._campaign_id, self._config, self._history.records)
        return self._end

    def is_finished(self, step: int) -> bool:
        """Say whether the loop's gates leave no stage to a step; leaders may be timed in the end all the same."""
        history = self._history
        if step in self._through or (step >= history.num_settled and history.is_visible(step)):
            return step in self._through
        num = history.num_visible(step)
        is_ahead = num >= history.num_settled
        archive = history.archive_ahead(num) if is_ahead else archive_of(history.records[:num], self._config)
        is_through = next_workload(history.records[step], archive, self._config) is None
        if step < history.num_settled and is_through:
            self._through.add(step)
        return is_through

    def _take(self, records: Iterable[Record]) -> None:
        """Take in records in step order, which may have been taken in before, and settle what nothing more comes of."""
        history = self._history
        for record in records:
            step = record.candidate.step
            if step < history.num_steps:
                history.records[step] = record
            else:
                history.add(record, ())
        before = history.num_settled
        # What failed by no fault of its own loses its result when it is measured again: all is looked at anew.
        history.reopen()
        self._through -= set(range(before, history.num_steps))
        published = Published(history.records, self._config, self._num_given)
        # The last step was proposed once all that it may see was finished: that need not be found out again.
        sure = history.num_visible(history.num_steps - 1)
        for step in range(before, history.num_steps):
            if step < sure:
                history.finish(step)
            elif self._is_through(step, published):
                history.finish(step)
                self._through.add(step)
        settled, under_way = history.records[before : history.num_settled], history.records[history.num_settled :]
        self._known |= _digests(settled, self._known)
        self._known_under_way = _digests(under_way, self._known)
        self._settled += _counts(settled)
        self._counts = self._settled + _counts(under_way)
        self._context = self._end = None

    def _is_through(self, step: int, published: Published) -> bool:
        """Say whether nothing is left to be measured of a step, as the loop does (`search.loop`)."""
        record = self._history.records[step]
        if record.candidate.status is not Status.OK:
            return True
        if not self._history.is_visible(step):
            return False
        following = next_workload(record, self._history.archive(step), self._config, published)
        return following is None and not published.delays(record, following)

    def _counted_by_the_ledger(self) -> Counts:
        far = self._ledger.progress(self._campaign_id)
        counts: Counts = Counter({(stage, status): number for stage, status, number in far.evaluations})
        counts[None] = far.num_steps
        return +counts


def end_of(campaign_id: int, config: CampaignConfig, records: Sequence[Record]) -> str:
    """Say why a campaign with these records, in step order, takes no more programs; nothing where it does."""
    allowance = Allowance(config, Seeds(config).num)
    for record in records:
        allowance.add(record.candidate)
    spent = "it has its candidates, or has spent what it may" if allowance.is_over else ""
    reason = spent or reason_to_stop(config, records)
    return f"campaign {campaign_id} is over: {reason}" if reason else ""


class Followed:
    """Campaigns that are followed, the latest few. Safe from several threads: they are brought up to date in turn."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_id: dict[int, Following] = {}

    def context(self, ledger: Ledger, campaign: StoredCampaign) -> Context:
        """Give all that is known of a campaign now."""
        with self._lock:
            return self._following(ledger, campaign).context

    def end(self, ledger: Ledger, campaign: StoredCampaign) -> str:
        """Say why a campaign takes no more programs now, nothing where it does."""
        with self._lock:
            return self._following(ledger, campaign).end

    def is_finished(self, ledger: Ledger, campaign: StoredCampaign, step: int) -> bool:
        """Say whether no stage is left to a step of a campaign now."""
        with self._lock:
            return self._following(ledger, campaign).is_finished(step)

    def _following(self, ledger: Ledger, campaign: StoredCampaign) -> Following:
        known = self._by_id.pop(campaign.id, None) or Following(ledger, campaign)
        self._by_id[campaign.id] = known
        while len(self._by_id) > MOST_FOLLOWED:
            del self._by_id[next(iter(self._by_id))]
        known.refresh()
        return known


def _digests(records: Iterable[Record], known: Container[str]) -> dict[str, int]:
    """Give the programs that records mean, each with its first step: as written, and with the budgets that were fitted.

    `known` are left out.
    """
    found: dict[str, int] = {}
    for record in records:
        for digest in (record.candidate.program_digest, *(each.key.program_digest for each in record.evaluations)):
            if digest and digest not in known:
                found.setdefault(digest, record.candidate.step)
    return found


def _counts(records: Iterable[Record]) -> Counts:
    """Count records, and their evaluations by stage and status."""
    found: Counts = Counter()
    for record in records:
        found[None] += 1
        found.update((each.key.stage, each.status) for each in record.evaluations)
    return found


def _between(one: Counts, counts: Counts, other: Counts) -> bool:
    """Say whether counts may have been read between two others."""
    return all(
        min(one[each], other[each]) <= counts[each] <= max(one[each], other[each]) for each in {*one, *counts, *other}
    )
