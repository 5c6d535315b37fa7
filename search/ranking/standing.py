"""A row of the leaderboard."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """One row of the leaderboard: a candidate at one cost ratio under one circumstance.

    Field names are a public contract (`vortex leaderboard --json`). No figure of another model, machine, evaluator's
    version or length stands in the row; `retrieval_lengths` and `accuracy_lengths` are those of the questions, which
    choose their own. Figures that are lost against dense attention of the same run end in `_loss`: positive is worse.
    """

    id: int  # the candidate's
    name: str
    digest: str
    origin: str
    parents: tuple[str, ...]
    accuracy: float | None  # of the probe
    accuracy_low: float | None
    accuracy_high: float | None
    recall: float | None
    speedup: float | None
    speedup_low: float | None
    speedup_high: float | None
    pages_attended: float | None
    bytes_per_page: float | None
    device: str
    model: str
    status: str = "ok"
    confirmed: bool = False  # measured again in a fresh engine on the held-out split
    confirmed_accuracy: float | None = None
    confirmed_accuracy_low: float | None = None
    confirmed_accuracy_high: float | None = None
    ratio: float = 0.0  # the cost ratio that the budget was fitted to, 0 for a program as written
    cost_ratio: float | None = None  # the one that it reached, by the cost model
    budget: float | None = None  # the fitted value
    reference: bool = False  # saves less than half of the bytes, as dense attention and the oracles: never a winner
    lengths: tuple[int, ...] = ()
    mixed_lengths: bool = False  # its stages had different ones: only of programs as written
    reason: str = ""  # why it got no further
    kl: float | None = None
    kl_low: float | None = None
    kl_high: float | None = None
    agreement: float | None = None
    perplexity_ratio: float | None = None
    perplexity_ratio_low: float | None = None
    perplexity_ratio_high: float | None = None
    retrieval: float | None = None
    retrieval_low: float | None = None
    retrieval_high: float | None = None
    dense_retrieval: float | None = None
    retrieval_loss: float | None = None
    retrieval_loss_low: float | None = None
    retrieval_loss_high: float | None = None
    retrieval_lengths: tuple[int, ...] = ()
    accuracy_lengths: tuple[int, ...] = ()
    task_loss: float | None = None
    task_loss_low: float | None = None
    task_loss_high: float | None = None
    modelled_speedup: float | None = None
    target: str = ""  # the device that `modelled_speedup` is modelled for
    confirmed_kl: float | None = None
    confirmed_kl_low: float | None = None
    confirmed_kl_high: float | None = None
    confirmed_retrieval_loss: float | None = None
    confirmed_retrieval_loss_low: float | None = None
    confirmed_retrieval_loss_high: float | None = None
    fitted_digest: str = ""  # the program that ran: the candidate's with the fitted budget
    campaign: int = 0
    workload: str = ""  # digest of what the campaign asks: rows of one ask the same
    model_digest: str = ""
    environment: str = ""
    evaluator_version: str = ""
    versions: tuple[tuple[str, str], ...] = ()  # of what is in the environment: name and version
    dtype: str = ""  # in which engines ran; empty where an older database does not know it
    dollars: float | None = None  # that asking for it cost; None where no endpoint was asked
