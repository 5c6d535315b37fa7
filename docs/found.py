"""Write docs/found/: the best rules of a campaign, a page each.

    python docs/found.py sqlite:///hour.db hour.toml [sqlite:///all.db all.toml]

At every cost ratio the found rule that beats every published one on held-out texts, or where none does the one that
comes nearest, which its page then says. A second campaign is one that measures what was found beside every published
rule; its answers are told too.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from search.plots import curve, save
from search.ranking.leaderboard import named, speedup
from search.report.claim import Claim, sentence
from search.report.material import gather
from search.report.merit import KL, RETRIEVAL, figure
from search.report.parts.lineage import ancestors, by_digest
from search.report.report import claims_at
from search.store.ledger import SqlLedger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.ranking.standing import Standing
    from search.records import Candidate
    from search.report.material import Material, Place

HERE = Path(__file__).with_name("found")
COLUMNS = (
    "cost ratio", "rule", "budget", "loses, nats a token", "on held-out texts", "answers lost, held-out",
    "speed-up", "bytes a page",
)  # fmt: skip

BY_HAND = (
    "What a person found by the same means, and what the search was taught by it, [is told beside it](../by_hand.md).\n"
)


def write(url: str, file: Path, *beside: str) -> None:
    """Write the index, and of each rule its page, its curve and its text, beside the files of both campaigns."""
    asked = {each.name: each.read_text() for each in (file, *map(Path, beside[1:]))}  # which may lie in the folder
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    for name, content in asked.items():
        (HERE / name).write_text(content)
    material, place, claims = _answered(url)
    holders = {each.found.id: each.found for each in claims if each.found}
    lines = [f"# Rules that were found\n\n{_circumstances(material, place, file, 'finds them')}\n"]
    for each in claims:
        lines += [f"## At a cost ratio of {each.ratio:g}\n", f"{sentence(each)} {_short(each)}\n", _table(each)]
    if beside:
        lines += _beside(beside[0], Path(beside[1]))
    lines += [BY_HAND, "## Their texts\n"]
    for found in holders.values():
        _page(found, place, claims, material.candidates, file)
        lines.append(f"* [{found.name}]({_stem(found)}.md): {_idea(_candidate(found, material.candidates))}")
    (HERE / "index.md").write_text("\n".join(lines) + "\n")


def _answered(url: str) -> tuple[Material, Place, list[Claim]]:
    """Read a database's newest campaign, its one circumstance, and its answer at each cost ratio."""
    with closing(SqlLedger(url)) as ledger:
        material = gather(ledger, ledger.campaign())
    (place,) = material.places
    return material, place, [each for each in claims_at(place, material) if each.found is not None]


def _beside(url: str, file: Path) -> list[str]:
    """Tell what a campaign answers that measures every published rule."""
    material, place, claims = _answered(url)
    told = [f"{sentence(each)} {_short(each)}\n\n{_table(each)}" for each in claims]
    return ["## Beside every published rule\n", f"{_circumstances(material, place, file, 'measures them')}\n", *told]


def _circumstances(material: Material, place: Place, file: Path, what: str) -> str:
    campaign, where = material.campaign, place.environment
    spent = sum(each.elapsed_s for each in place.spendings) / 3600
    made = Counter(each.commit[:12] for each in sorted(place.spendings, key=lambda each: each.finished_at or 0.0))
    first, *others = made  # in the order in which they were at work
    later = "".join(f" {made[each]:,} of {made.total():,} evaluations are of commit {each}." for each in others)
    num_proposed = sum(c.proposal.operator not in ("seed", "reference") for c in material.candidates)
    return (
        f"By `vortex run {file.name}` ([the file]({file.name})), which {what} again at commit {first}, given the time; "
        f"a later one may propose others.{later} {campaign.model}, seed {campaign.seed}, {num_proposed:,} candidates "
        f"proposed, {spent:.1f} hours of a worker; {where.device}, {where.dtype}, vLLM {where.vllm}, torch "
        f"{where.torch}. Intervals are of 95 %. One campaign with one seed."
    )


def _short(each: Claim) -> str:
    told = "; ".join((*each.shortfalls, *each.caveats))
    return f"To be known: {told}." if told else ""


def _table(each: Claim) -> str:
    assert each.found is not None
    rivals = sorted((duel.published for duel in each.duels), key=lambda s: KL.value(s) or 9.0)[:3]
    return _grid([each.found, *rivals])


def _grid(rows: Sequence[Standing]) -> str:
    head = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
    return "\n".join([head, *(_row(each) for each in rows)]) + "\n"


def _row(each: Standing) -> str:
    told = (
        f"{each.ratio:g}", named(each), f"{each.budget:g}" if each.budget is not None else "–", KL.told(each),
        KL.told(each, confirmed=True), RETRIEVAL.told(each, confirmed=True), speedup(each),
        figure(each.bytes_per_page) if each.bytes_per_page is None else f"{each.bytes_per_page:g}",
    )  # fmt: skip
    return f"| {' | '.join(told)} |"


def _page(found: Standing, place: Place, claims: Sequence[Claim], candidates: Sequence[Candidate], file: Path) -> None:
    candidate = _candidate(found, candidates)
    rows = [s for section in place.at.values() for s in section.rows if s.id == found.id]
    save(curve(rows), HERE / f"{_stem(found)}.svg")
    (HERE / f"{_stem(found)}.py").write_text(candidate.proposal.text)
    held = [sentence(each) for each in claims if each.found and each.found.id == found.id]
    values = ", ".join(f"{name} = {value}" for name, value in candidate.proposal.values)
    parents = ", ".join(f"`{each[:12]}`" for each in candidate.proposal.parents) or "none"
    (HERE / f"{_stem(found)}.md").write_text(
        f"# {found.name}\n\n{_idea(candidate)}\n\n{' '.join(held)}\n\n{_grid(rows)}\n"
        f"![What it loses at each cost ratio]({_stem(found)}.svg)\n\n"
        f"Proposed by {candidate.proposal.proposer} ({candidate.proposal.operator}), from {parents}"
        f"{f', with {values}' if values else ''}. Its digest is `{found.digest}`; "
        f"[its text]({_stem(found)}.py):\n\n```python\n{candidate.proposal.text.strip()}\n```\n\n"
        f"How it came about, from its oldest ancestor on:\n\n{_way(found, place)}\n"
        f"Found by [{file.name}]({file.name}).\n"
    )


def _way(found: Standing, place: Place) -> str:
    """List its ancestors and itself, and what each changed."""
    line = [record.candidate for _, record in reversed(ancestors(place.seen[found.id], by_digest(place)))]
    told = [f"* {each.name} ({each.id}): {each.proposal.rationale or 'published'}" for each in line]
    return "".join(f"{each}\n" for each in told)


def _candidate(found: Standing, candidates: Sequence[Candidate]) -> Candidate:
    return next(each for each in candidates if each.id == found.id)


def _stem(found: Standing) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(found.name))


def _idea(candidate: Candidate) -> str:
    lines = candidate.proposal.text.split('"""')
    return " ".join(lines[1].split()) if len(lines) > 1 else ""


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
