"""Contexts: one cycle over random symbols, cut into records of varying width, scattered or in clumps between fillers.

A record lists names of which each leads to the next; its last name heads another record. A hop from one symbol to the
next may lead through an alias, `x … a` in one record and `a … y` in another: one attention layer finds the alias, the
next one the symbol.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from search.evaluator.probe.vocabulary import ALIASES, END_FILLER, FILLERS, NAMES, SYMBOLS

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping, Sequence

    from search.evaluator.probe.vocabulary import Format

    Record = tuple[str, ...]
    Place = tuple[float, float]  # where in the context, from 0 to 1, and the order of what stands there

WIDTHS = (2, 3, 4, 5, 6, 7, 8)  # names of a record; one that reaches an alias ends there
MAX_KEYS = 448  # the other symbols stand in fillers only
LONGEST_RUN = 12  # words of a run of fillers
CLUMPS = (1, 4, 16)  # records that stand side by side, about; one of these is drawn for each context
FAR_SHARE = 0.25
OUTDATED_BEFORE, LATEST_AFTER = 0.4, 0.6  # shares of the context
LONGEST_PAIR = 5  # words of a record of two names

_SYMBOLS, _ALIASES, _NAMES = frozenset(SYMBOLS), frozenset(ALIASES), frozenset(NAMES)


@dataclass(frozen=True)
class Mix:
    """What the contexts of one kind are made of.

    `records` is the share of the context that holds the records that count. Of the hops, the share `aliases` leads
    through an alias. `stale` says that each name has an earlier, outdated successor, `apart` that all of those stand
    well before the first that counts. `symbol_fillers` is the share of names among fillers, as far as no two stand
    side by side; each asked name heads `decoys` runs of fillers; `far` puts the asked records into the first quarter.
    """

    records: float
    aliases: float = 0.2
    stale: bool = False
    apart: bool = False
    symbol_fillers: float = 0.25
    decoys: int = 0
    far: bool = False

    def most_tokens(self, num_keys: int) -> int:
        """Give the number of tokens that records of `num_keys` keys take at most, outdated ones included."""
        links = num_keys * (2 if self.aliases else 1)
        longest = max(WIDTHS) * 2 + 1
        return (links * LONGEST_PAIR + longest) * (2 if self.stale else 1)


def draw_records(rng: random.Random, mix: Mix, form: Format, num_tokens: int, min_keys: int) -> list[Record]:
    """Draw records of one cycle until they take `num_tokens` tokens and hold `min_keys` keys, or symbols run out."""
    path = _draw_path(rng, mix.aliases)
    kept: list[Record] = []
    used = num_keys = 0
    for record in _cut(rng, path):
        if used >= num_tokens and num_keys >= min_keys:
            break
        kept.append(record)
        used += len(form.write(record))
        num_keys += sum(name in _SYMBOLS for name in record[:-1])
    return [*kept[:-1], (*kept[-1][:-1], path[0])]


def links_of(records: Sequence[Record]) -> dict[str, str]:
    """Give the name that follows each name, be it symbol or alias."""
    return {name: after for record in records for name, after in pairwise(record)}


def following_of(links: Mapping[str, str]) -> dict[str, str]:
    """Give the symbol that follows each symbol, straight or through an alias."""
    symbols = ((name, after) for name, after in links.items() if name in _SYMBOLS)
    return {name: links[after] if after in _ALIASES else after for name, after in symbols}


def asked_names(links: Mapping[str, str], start: str, num_hops: int) -> list[str]:
    """Give the names that are looked up on the way of `num_hops` hops from `start`, aliases included."""
    asked, name = [], start
    while num_hops:
        asked.append(name)
        name = links[name]
        num_hops -= name in _SYMBOLS
    return asked


def write_context(
    rng: random.Random, mix: Mix, form: Format, records: Sequence[Record], asked: Sequence[str], num_tokens: int
) -> list[str]:
    """Give `num_tokens` words that list the records as the mix says. `asked` are the names that will be looked up."""
    spots = [rng.random() for _ in range(-(-len(records) // rng.choice(CLUMPS)))]
    regions = [_region(mix, record, set(asked)) for record in records]
    placed = [
        ((low + (high - low) * rng.choice(spots), rng.random()), form.write(record))
        for (low, high), record in zip(regions, records, strict=True)
    ]
    if mix.stale:
        placed += [(place, form.write(record)) for place, record in _outdated(rng, mix, records, placed)]
    room = num_tokens - sum(len(words) for _, words in placed)
    decoys = rng.sample([*asked] * mix.decoys, len(asked) * mix.decoys)
    placed += [((rng.random(), 0.0), run) for run in _fillers(rng, mix.symbol_fillers, decoys, room)]
    return [word for _, words in sorted(placed) for word in words]


def _draw_path(rng: random.Random, share: float) -> list[str]:
    """Draw the symbols of a cycle in order, an alias between some of them."""
    aliases = rng.sample(ALIASES, len(ALIASES))
    path: list[str] = []
    for symbol in rng.sample(SYMBOLS, MAX_KEYS):
        path.append(symbol)
        if aliases and rng.random() < share:
            path.append(aliases.pop())
    return path


def _cut(rng: random.Random, path: Sequence[str]) -> Iterator[Record]:
    """Cut a path into records, each beginning with the name that the one before ended with."""
    record, width = [path[0]], rng.choice(WIDTHS)
    for name in path[1:]:
        record.append(name)
        if len(record) == width or name in _ALIASES:
            yield tuple(record)
            record, width = [name], rng.choice(WIDTHS)


def _region(mix: Mix, record: Record, asked: set[str]) -> tuple[float, float]:
    """Give the part of the context in which a record may stand: from and to, of 1."""
    if mix.far and not asked.isdisjoint(record[:-1]):
        return 0.0, FAR_SHARE
    return (LATEST_AFTER, 1.0) if mix.stale and mix.apart else (0.0, 1.0)


def _outdated(
    rng: random.Random, mix: Mix, records: Sequence[Record], placed: Sequence[tuple[Place, Record]]
) -> Iterator[tuple[Place, Record]]:
    """Give records of another cycle over the same names, each with a place before those that its names have."""
    links = links_of(records)
    renamed = _rename(rng, links)
    place_of = {name: place for (place, _), record in zip(placed, records, strict=True) for name in record[:-1]}
    for record in records:
        outdated = tuple(renamed[name] for name in record)
        latest, _ = min(place_of[name] for name in outdated[:-1])
        yield (rng.random() * (OUTDATED_BEFORE if mix.apart else latest), 0.0), outdated


def _rename(rng: random.Random, links: Mapping[str, str]) -> dict[str, str]:
    """Permute symbols among themselves, and aliases, until no name keeps its successor."""
    groups = [[name for name in links if name in group] for group in (_SYMBOLS, _ALIASES)]
    while True:
        renamed = {a: b for group in groups for a, b in zip(group, rng.sample(group, len(group)), strict=True)}
        if all(links[renamed[name]] != renamed[after] for name, after in links.items()):
            return renamed


def _fillers(rng: random.Random, share: float, decoys: list[str], room: int) -> Iterator[tuple[str, ...]]:
    """Fill exactly `room` tokens with runs of words, as many of them headed by a decoy as there are."""
    while room > 0:
        words: list[str] = []
        for _ in range(min(rng.randint(1, LONGEST_RUN), room - 1)):
            beside_name = bool(words) and words[-1] in _NAMES
            if decoys and not words:
                words.append(decoys.pop())
            else:
                words.append(rng.choice(NAMES if rng.random() < share and not beside_name else FILLERS))
        yield (*words, END_FILLER)
        room -= len(words) + 1
