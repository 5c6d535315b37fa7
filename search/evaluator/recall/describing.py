"""Statistics of a model's queries, keys and attention, the same for every program: facts for whoever writes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from search.evaluator.recall.choices import Opened
from search.evaluator.recall.figures import by_layer
from search.records import Measurement

if TYPE_CHECKING:
    from search.evaluator.recall.figures import Asking, Dense

PAGE_SIZE = 16
LAST_PAGES, LARGEST, QUARTERS = 2, 4, 4


def statistics(asking: Asking) -> list[Measurement]:
    """Describe what was recorded, `<name>_layer_<i>` each, named as `figures.measure` does, averaged over texts.

    * `first_page_mass`, `last_pages_mass`: the share of the attention weights on the first page, on the last
      `LAST_PAGES`;
    * `q_norm`, `k_norm`: the mean Euclidean norm of queries and keys;
    * `largest_channels`: the share of the keys' squares in the `LARGEST` channels of each KV head that have most;
    * `mean_key`: the share of the keys' squares that their mean over tokens has;
    * `between_pages`: of the keys' variance about that mean, the share between the means of pages;
    * `quarter_1` ... `quarter_4`: of the variance over pages of q . (mean key of the page), the share that each quarter
      of the rotary pairs adds, the fastest first; they sum to 1, and one that works against the others is negative.

    Pairs are those of Llama's order: channels i and i + head_dim / 2.
    """
    found = [[_of_layer(dense, place) for place in range(len(dense.layers))] for dense in asking.dense]
    names = list(found[0][0])
    return [
        each
        for name in names
        for each in by_layer(name, [torch.stack([layer[name] for layer in layers]) for layers in found], asking)
    ]


def _of_layer(dense: Dense, layer: int) -> dict[str, torch.Tensor]:
    """Give each statistic of one layer: [step, text, KV head]."""
    place, num_steps, num_texts = dense.part.places[layer], len(dense.part.steps), len(dense.names)
    q = dense.part.recording.q[list(dense.part.steps), place].flatten(1, 2).float()  # [step, row, head, dim]
    k = Opened(dense.part.recording.k).tokens(place)[:, : int(dense.lengths.min())]
    weights = dense.weights[layer].mean(2).transpose(0, 1)  # [step, row, token]
    last = (-(-dense.lengths // PAGE_SIZE) - LAST_PAGES) * PAGE_SIZE
    is_last = torch.arange(weights.shape[-1]) >= last[:, None, None]
    told = {
        "first_page_mass": weights[..., :PAGE_SIZE].sum(-1),
        "last_pages_mass": (weights * is_last).sum(-1),
        "q_norm": q.norm(dim=-1).mean(-1),
        **_of_keys(k),
        **_of_scores(q, _page_means(k)),
    }
    return {name: x.expand(num_steps, -1).unflatten(1, (num_texts, -1)) for name, x in told.items()}


def _page_means(k: torch.Tensor) -> torch.Tensor:
    """Average the keys of whole pages: [row, token, dim] -> [row, page, dim]."""
    whole = k.shape[1] // PAGE_SIZE * PAGE_SIZE
    return k[:, :whole].unflatten(1, (-1, PAGE_SIZE)).mean(2)


def _of_keys(k: torch.Tensor) -> dict[str, torch.Tensor]:
    """Describe keys: [row, token, dim] -> [row] each."""
    squares, mean = k.square().mean(1), k.mean(1)
    variance = squares - mean.square()
    between = _page_means(k).var(1, correction=0)
    return {
        "k_norm": k.norm(dim=-1).mean(-1),
        "largest_channels": squares.topk(LARGEST, -1).values.sum(-1) / squares.sum(-1),
        "mean_key": mean.square().sum(-1) / squares.sum(-1),
        "between_pages": between.sum(-1) / variance.sum(-1),
    }


def _of_scores(q: torch.Tensor, means: torch.Tensor) -> dict[str, torch.Tensor]:
    """Share out how scores by mean keys vary over pages: [step, row, head, dim] and [row, page, dim] -> [step, row]."""
    pairs = torch.arange(means.shape[-1]) % (means.shape[-1] // 2)
    quarters = pairs * QUARTERS // (means.shape[-1] // 2)
    centred = means - means.mean(1, keepdim=True)
    parts = torch.stack(
        [q[..., quarters == each] @ centred[..., quarters == each].mT for each in range(QUARTERS)]
    )  # [quarter, step, row, head, page]
    shares = (parts * parts.sum(0)).sum(-1) / parts.sum(0).square().sum(-1).clamp(min=1e-30)
    return {f"quarter_{each + 1}": share for each, share in enumerate(shares.mean(-1))}
