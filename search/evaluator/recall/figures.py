"""How much of dense attention a program's choice of pages keeps, on recorded queries, keys and values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch

from search.evaluator import intervals
from search.records import Measurement
from vortex_dsl.backends.batched import Batched, Loaded, Step
from vortex_dsl.backends.torch_backend import attend_pages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vortex_dsl.graph.graph import Graph

SHARES = ("mass", "oracle_mass", "random_mass", "recall")  # none exceeds 1


@dataclass(frozen=True)
class Recording:
    """What one layer saw at one decode step; rows are sequences x KV heads.

    q: [row, head, dim], unscaled; k, v: [row, token, dim], keys after rotary embedding; lengths: [row], tokens with
    the current one (k and v may hold anything beyond); kv_head: [row], of the model.
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    lengths: torch.Tensor
    kv_head: torch.Tensor
    layer: int
    num_layers: int
    scale: float

    @property
    def sequence(self) -> torch.Tensor:
        """Number the sequences: how many rows of the same KV head came before. [row]"""
        same = self.kv_head[:, None] == self.kv_head
        return same.tril(-1).sum(1)


def recordings(seen: Sequence[dict[str, Any]]) -> list[Recording]:
    """Read what the engine recorded; what it attended to while recording does not matter here."""
    names = [field.name for field in fields(Recording)]
    return [Recording(**{name: each[name] for name in names}) for each in seen]


def measure(graph: Graph, recordings: Sequence[Recording], seed: int) -> list[Measurement]:
    """Compare the program's pages with as many pages chosen best and chosen at random.

    A page's mass is its share of the dense attention weights, averaged over the query heads of its KV head. Per row:

    * `mass`: mass of all attended pages, reserved and partial ones included;
    * `oracle_mass`, `random_mass`: the same had the program chosen as many candidate pages by mass, or by lot (the
      expected mass);
    * `recall`: mass of the chosen candidate pages over that of as many best ones; 0 for a row with candidates of
      which none was chosen. Rows without candidates do not count; it is 1 where no row has any;
    * `output_error`: |sparse - dense| / |dense| of the attention output, Euclidean over all heads and channels;
      `random_error` the same for as many pages by lot, drawn by `seed`;
    * `pages_attended`, `pages_dense`: pages read and pages there are.

    Each is averaged over the rows of a sequence first; the interval is Student's over sequences, cut to what is
    possible. `dense_layers` is not considered: a recorded layer is measured as a sparse one. Raises ValueError without
    recordings.
    """
    if not recordings:
        raise ValueError("nothing was recorded, so recall cannot be measured")
    generator = torch.Generator().manual_seed(seed)
    batched = Batched(graph)
    rows: dict[str, list[torch.Tensor]] = {}
    for recording in recordings:
        for name, values in _figures(batched, recording, generator).items():
            rows.setdefault(name, []).append(values)
    sequence = torch.cat([recording.sequence for recording in recordings])
    return [_over_sequences(name, torch.cat(values), sequence) for name, values in rows.items()]


def _figures(batched: Batched, recording: Recording, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Give every figure of one recording: [row] each; recall is NaN on rows without candidates."""
    size, lengths = batched.graph.page_size, recording.lengths
    k, v = (_paged(x, lengths, size) for x in (recording.k, recording.v))
    attended = attended_pages(batched, recording, k, v)
    candidates = _candidates(batched.graph, lengths, k.shape[1])
    present = torch.arange(k.shape[1]) < -(-lengths // size)[:, None]
    mass = page_mass(recording.q, k, lengths, recording.scale)
    chosen = attended & candidates
    num_chosen, num_candidates = chosen.sum(1), candidates.sum(1)
    best = _take(mass.masked_fill(~candidates, -1.0), num_chosen)
    drawn = _take(torch.rand(mass.shape, generator=generator).masked_fill(~candidates, -1.0), num_chosen)
    kept, best_kept = (mass * chosen).sum(1), (mass * best).sum(1)
    reserved = (mass * (attended & ~candidates)).sum(1)
    share = num_chosen / num_candidates.clamp(min=1)
    recall = torch.where(num_chosen > 0, kept / best_kept.clamp(min=1e-30), 0.0)

    def output(pages: torch.Tensor) -> torch.Tensor:
        return attend_pages(recording.q, k, v, pages, lengths, recording.scale).flatten(1)

    dense = output(present)
    norm = dense.norm(dim=1).clamp(min=1e-30)
    return {
        "mass": reserved + kept,
        "oracle_mass": reserved + best_kept,
        "random_mass": reserved + share * (mass * candidates).sum(1),
        "recall": recall.masked_fill(num_candidates == 0, float("nan")),
        "output_error": (output(attended) - dense).norm(dim=1) / norm,
        "random_error": (output(drawn | attended & ~candidates) - dense).norm(dim=1) / norm,
        "pages_attended": attended.sum(1).float(),
        "pages_dense": present.sum(1).float(),
    }


def attended_pages(batched: Batched, recording: Recording, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Give the pages that the program attends to: bool [row, page]. k, v: [row, page, token, dim]."""
    rows, pages = k.shape[:2]
    region = batched.summarize(k.flatten(0, 1), v.flatten(0, 1))
    fields = batched.layout.load(region, torch.arange(rows * pages).reshape(rows, pages))
    return batched.select(
        Step(
            q=recording.q,
            sets=batched.page_sets(recording.lengths, pages),
            kv_head=recording.kv_head,
            layer_index=recording.layer,
            layer_count=recording.num_layers,
            scale=recording.scale,
            source=Loaded(pages, fields, k, v),
        )
    )


def page_mass(q: torch.Tensor, k: torch.Tensor, lengths: torch.Tensor, scale: float) -> torch.Tensor:
    """Give each page's share of the dense attention weights, mean over query heads: [row, page].

    q: [row, head, dim]; k: [row, page, token, dim].
    """
    pages, page_size = k.shape[1:3]
    unseen = torch.arange(pages * page_size) >= lengths[:, None]
    scores = (q @ k.flatten(1, 2).mT * scale).masked_fill(unseen[:, None], -float("inf"))
    return scores.softmax(-1).mean(1).unflatten(1, (pages, page_size)).sum(2)


def _paged(x: torch.Tensor, lengths: torch.Tensor, page_size: int) -> torch.Tensor:
    """Cut [row, token, dim] into [row, page, token, dim], zeros beyond the lengths."""
    x = x[:, : int(lengths.max())].float()
    x = x.masked_fill((torch.arange(x.shape[1]) >= lengths[:, None])[..., None], 0.0)
    x = torch.nn.functional.pad(x, (0, 0, 0, -x.shape[1] % page_size))
    return x.unflatten(1, (-1, page_size))


def _candidates(graph: Graph, lengths: torch.Tensor, num_pages: int) -> torch.Tensor:
    """Give the pages that are neither sink nor window nor absent: bool [row, page]."""
    index, count = torch.arange(num_pages), -(-lengths // graph.page_size)[:, None]
    return (index < count) & ~graph.is_reserved(index, count)


def _take(score: torch.Tensor, num: torch.Tensor) -> torch.Tensor:
    """Mark the `num` [row] highest of score [row, page]."""
    rank = score.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return rank < num[:, None]


def _over_sequences(name: str, values: torch.Tensor, sequence: torch.Tensor) -> Measurement:
    """Average the rows of each sequence, then give mean and interval over sequences."""
    means = [values[sequence == i].nanmean().item() for i in range(int(sequence.max()) + 1)]
    known = [mean for mean in means if mean == mean]  # NaN: a sequence without candidates
    interval = intervals.mean(known or [1.0])
    low, high = interval.low, interval.high
    if low is not None and high is not None:
        low, high = max(low, 0.0), min(high, 1.0) if name in SHARES else high
    return Measurement(name, interval.value, low, high, interval.num_samples)
