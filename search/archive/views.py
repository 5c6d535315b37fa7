"""The beginning of what a campaign knows, without a copy of it: what stands there does not change any more."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import TypeVar, overload

Item = TypeVar("Item")


class Beginning(Sequence[Item]):
    """The first `num` items of a list that grows."""

    def __init__(self, items: Sequence[Item], num: int) -> None:
        self._items, self._num = items, num

    def __len__(self) -> int:
        return self._num

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return [self._items[i] for i in range(*index.indices(self._num))]
        return self._items[range(self._num)[index]]

    def __iter__(self) -> Iterator[Item]:
        return itertools.islice(self._items, self._num)


class KnownBefore(Set[str]):
    """The names that were known before a step, of those that are known since some step each."""

    def __init__(self, since: Mapping[str, int], step: int) -> None:
        self._since, self._step = since, step

    @classmethod
    def _from_iterable(cls, names: Iterable[str]) -> frozenset[str]:  # type: ignore[override]
        """Give what `&`, `|` and `-` come to: a set of its own."""
        return frozenset(names)

    def __contains__(self, name: object) -> bool:
        return self._since.get(name, self._step) < self._step  # type: ignore[call-overload]

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, since in list(self._since.items()) if since < self._step])

    def __len__(self) -> int:
        return sum(1 for _ in self)
