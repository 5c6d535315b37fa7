"""The tables. Migrations make them; a test holds the two together."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from search.store.columns import Conversation, Number, Prose

Digest = Annotated[str, mapped_column(Text)]
# By its beginning too: in no language's order but that of bytes does an index help with that.
Named = Text().with_variant(Text(collation="C"), "postgresql")
Pairs = list[list[Any]]  # [name, value] of each tunable


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can speak of it on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {str: Text, float: Number, int: BigInteger, datetime: DateTime(timezone=True)}  # noqa: RUF012


# SQLite numbers rows by itself only in a column that is exactly INTEGER.
Id = Annotated[int, mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)]
Now = Annotated[datetime, mapped_column(server_default=func.now())]


class Campaign(Base):
    """A search: see `records.StoredCampaign`."""

    __tablename__ = "campaign"

    id: Mapped[Id]
    seed: Mapped[int]
    num_candidates: Mapped[int]
    proposers: Mapped[list[str]] = mapped_column(JSON)
    model: Mapped[str]
    settings: Mapped[str]
    created_at: Mapped[Now]


class Source(Base):
    """A program text, kept once however often it is proposed."""

    __tablename__ = "source"

    digest: Mapped[Digest] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Prose)


class Program(Base):
    """A graph by its digest, with the first text that gave it. The name is empty if only a task brought it."""

    __tablename__ = "program"

    digest: Mapped[Digest] = mapped_column(primary_key=True)
    source_digest: Mapped[Digest] = mapped_column(ForeignKey("source.digest"))
    values: Mapped[Pairs] = mapped_column(JSON)
    name: Mapped[str] = mapped_column(Prose)
    first_seen_at: Mapped[Now]


class Candidate(Base):
    """A step of a campaign, admitted or refused. `program_digest` is NULL where the text gave no graph."""

    __tablename__ = "candidate"
    __table_args__ = (UniqueConstraint("campaign_id", "step"),)

    id: Mapped[Id]
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"))
    step: Mapped[int]
    source_digest: Mapped[Digest] = mapped_column(ForeignKey("source.digest"))
    values: Mapped[Pairs] = mapped_column(JSON)
    proposer: Mapped[str]
    operator: Mapped[str]
    parents: Mapped[list[str]] = mapped_column(JSON)
    rationale: Mapped[str] = mapped_column(Prose)
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    dollars: Mapped[float]
    elapsed_s: Mapped[float]
    status: Mapped[str]
    message: Mapped[str] = mapped_column(Prose)
    program_digest: Mapped[str | None] = mapped_column(Named, ForeignKey("program.digest"), index=True)
    name: Mapped[str] = mapped_column(Prose)
    created_at: Mapped[Now]
    # Only people read it, one candidate at a time: no query loads it unasked.
    conversation: Mapped[str | None] = mapped_column(Conversation, deferred=True)


class Submission(Base):
    """A proposal from outside, and the step that it took: NULL while it waits. See `records.Submission`."""

    __tablename__ = "submission"
    __table_args__ = (UniqueConstraint("campaign_id", "step"),)

    id: Mapped[Id]
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"))
    step: Mapped[int | None]
    source_digest: Mapped[Digest] = mapped_column(ForeignKey("source.digest"))
    values: Mapped[Pairs] = mapped_column(JSON)
    proposer: Mapped[str]
    operator: Mapped[str]
    parents: Mapped[list[str]] = mapped_column(JSON)
    rationale: Mapped[str] = mapped_column(Prose)
    hypotheses: Mapped[Pairs] = mapped_column(JSON)  # [text, prediction] of each
    notes: Mapped[Pairs] = mapped_column(JSON)  # [kind, text]
    created_at: Mapped[Now]


class Hypothesis(Base):
    """What a candidate's proposer predicted of it: stored with the candidate, so before anything is measured."""

    __tablename__ = "hypothesis"

    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidate.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Prose)
    prediction: Mapped[str] = mapped_column(Prose)


class Note(Base):
    """What a candidate's proposer had concluded when it proposed."""

    __tablename__ = "note"

    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidate.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    text: Mapped[str] = mapped_column(Prose)


class Remark(Base):
    """What a person wrote beside a candidate in the dashboard: tags, each once, and notes."""

    __tablename__ = "remark"
    __table_args__ = (
        CheckConstraint("kind IN ('tag', 'note')", name="kind"),
        UniqueConstraint("candidate_id", "kind", "text"),
        Index(None, "kind", "text"),
    )

    id: Mapped[Id]
    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidate.id"))
    kind: Mapped[str]
    text: Mapped[str] = mapped_column(Prose)
    created_at: Mapped[Now]


class Question(Base):
    """A question to a language model whose dollars no candidate has yet: see `search.store.asked.questions`.

    `dollars` is the most that it can cost until it is `heard`, then what it cost.
    """

    __tablename__ = "question"

    id: Mapped[str] = mapped_column(primary_key=True)  # drawn by whoever asks: written twice, it is one row
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"), index=True)
    step: Mapped[int]
    proposer: Mapped[str]
    model: Mapped[str]
    dollars: Mapped[float]
    heard: Mapped[bool] = mapped_column(default=False, server_default=false())
    created_at: Mapped[Now]


class Workload(Base):
    """What a stage ran on. `split` stands by itself because proposers must never see "held_out"."""

    __tablename__ = "workload"

    digest: Mapped[Digest] = mapped_column(primary_key=True)
    split: Mapped[str]
    definition: Mapped[dict[str, Any]] = mapped_column(JSON)


class Environment(Base):
    """Where numbers were measured."""

    __tablename__ = "environment"

    digest: Mapped[Digest] = mapped_column(primary_key=True)
    definition: Mapped[dict[str, Any]] = mapped_column(JSON)


LEASED = text("lease_until IS NOT NULL")  # the few rows that somebody is at
KEY = (
    "program_digest",
    "stage",
    "workload_digest",
    "model_digest",
    "environment_digest",
    "evaluator_version",
    "seed",
    "repeat",
)


class Evaluation(Base):
    """The heart: cache, queue and exactly-once guard in one unique key.

    free (no owner, no status) -> leased (owner, lease_until) -> begun -> finished (status). A lease that runs out
    counts one death if the evaluation had begun: what only waited for its turn is not blamed.
    """

    __tablename__ = "evaluation"
    __table_args__ = (
        UniqueConstraint(*KEY, name="uq_evaluation_key"),
        CheckConstraint("(owner IS NULL) = (lease_until IS NULL)", name="lease"),
        CheckConstraint("owner IS NULL OR status IS NULL", name="finished_or_leased"),
        Index("ix_evaluation_lease_until", "lease_until", sqlite_where=LEASED, postgresql_where=LEASED),
    )

    id: Mapped[Id]
    program_digest: Mapped[str] = mapped_column(Named, ForeignKey("program.digest"))
    stage: Mapped[str]
    workload_digest: Mapped[Digest] = mapped_column(ForeignKey("workload.digest"))
    model_digest: Mapped[Digest]
    # No foreign key: the environment is stored with the first result, the row with the first claim.
    environment_digest: Mapped[Digest]
    evaluator_version: Mapped[str]
    seed: Mapped[int]
    repeat: Mapped[int]
    owner: Mapped[str | None]
    lease_until: Mapped[float | None]
    begun: Mapped[bool] = mapped_column(default=False, server_default=false())
    num_deaths: Mapped[int] = mapped_column(default=0)
    status: Mapped[str | None]
    message: Mapped[str] = mapped_column(Prose, default="")
    correct: Mapped[str] = mapped_column(default="")
    # Digest of all generated tokens; of a screen, what tells behaviour apart.
    answers: Mapped[str] = mapped_column(default="", index=True)
    elapsed_s: Mapped[float] = mapped_column(default=0.0)
    finished_at: Mapped[datetime | None]
    # Of ours, that measured it: an environment's identity leaves it out, so rows of one environment may differ in it.
    commit: Mapped[str] = mapped_column(default="", server_default="")


class Measurement(Base):
    """One number of an evaluation; `value` is NULL where it was not a number."""

    __tablename__ = "measurement"

    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluation.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    value: Mapped[float | None]
    low: Mapped[float | None]
    high: Mapped[float | None]
    num_samples: Mapped[int]


class CandidateEvaluation(Base):
    """Whose evaluation it is. Campaigns share evaluations, each of them only those that it asked for."""

    __tablename__ = "candidate_evaluation"

    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidate.id"), primary_key=True)
    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluation.id"), primary_key=True, index=True)


class Unmeasured(Base):
    """An evaluation that a step was settled without: see `search.archive.unmeasured`."""

    __tablename__ = "unmeasured"
    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidate.id"), primary_key=True)
    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluation.id"), primary_key=True)
    status: Mapped[str]
    message: Mapped[str] = mapped_column(Prose)
    until: Mapped[int | None]
    resumed: Mapped[int | None]


class Tally(Base):
    """A count of a campaign's that is kept as it changes: see `search.store.derived.tally`."""

    __tablename__ = "tally"

    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[float]


# What tells the rows of one candidate apart: no figure is ever shown among those of another circumstance.
CIRCUMSTANCE = ("ratio", "lengths", "model_digest", "environment_digest", "evaluator_version")
# What rows share that are ranked against each other: a circumstance, and what was asked.
SECTION = ("workload", *CIRCUMSTANCE[2:], "lengths", "ratio")
# Figures by which people sort. Few rows have most of them, and only those are in an index.
SORTED = ("kl", "retrieval_loss", "accuracy", "recall", "speedup", "modelled_speedup")
WITHIN = ((), ("ratio",), ("campaign_id",))  # of all rows, and of what they are divided by


def _of_figure(name: str, *within: str) -> Index:
    columns, is_known = (*within, name, "place"), text(f"{name} IS NOT NULL")
    return Index(f"ix_standing_{'_'.join(columns)}", *columns, sqlite_where=is_known, postgresql_where=is_known)


class Standing(Base):
    """The leaderboard's summary of an admitted candidate under one circumstance, rewritten with each of its results.

    Derived from evaluations alone. A candidate that is not measured yet has one row whose circumstance is empty.
    """

    __tablename__ = "standing"
    __table_args__ = (
        UniqueConstraint("campaign_id", "program_digest", *CIRCUMSTANCE),
        Index(None, "place"),
        Index(None, "campaign_id", "place"),
        *(_of_figure(name, *columns) for name in SORTED for columns in WITHIN),
        Index("ix_standing_section", *SECTION, "campaign_id", "kl"),
    )

    id: Mapped[Id]
    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidate.id"), index=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaign.id"))
    program_digest: Mapped[Digest] = mapped_column(ForeignKey("program.digest"))
    ratio: Mapped[float] = mapped_column(default=0.0)
    lengths: Mapped[str] = mapped_column(default="")  # ascending, between commas
    model_digest: Mapped[Digest] = mapped_column(default="")
    environment_digest: Mapped[Digest] = mapped_column(default="")
    evaluator_version: Mapped[str] = mapped_column(default="")
    fitted_digest: Mapped[Digest] = mapped_column(default="")
    workload: Mapped[Digest] = mapped_column(default="")
    device: Mapped[str] = mapped_column(default="")
    dtype: Mapped[str] = mapped_column(default="", server_default="")
    status: Mapped[str]
    reason: Mapped[str] = mapped_column(Prose, default="")
    # Where it stands, best first, so that bytes in order are rows in order: see `search.store.derived.place`.
    place: Mapped[bytes] = mapped_column(default=b"", server_default=text("''"))
    mixed_lengths: Mapped[bool] = mapped_column(default=False)
    retrieval_lengths: Mapped[str] = mapped_column(default="")
    accuracy_lengths: Mapped[str] = mapped_column(default="")
    cost_ratio: Mapped[float | None]
    budget: Mapped[float | None]
    accuracy: Mapped[float | None]
    accuracy_low: Mapped[float | None]
    accuracy_high: Mapped[float | None]
    recall: Mapped[float | None]
    kl: Mapped[float | None]
    kl_low: Mapped[float | None]
    kl_high: Mapped[float | None]
    agreement: Mapped[float | None]
    perplexity_ratio: Mapped[float | None]
    perplexity_ratio_low: Mapped[float | None]
    perplexity_ratio_high: Mapped[float | None]
    retrieval: Mapped[float | None]
    retrieval_low: Mapped[float | None]
    retrieval_high: Mapped[float | None]
    dense_retrieval: Mapped[float | None]
    retrieval_loss: Mapped[float | None]
    retrieval_loss_low: Mapped[float | None]
    retrieval_loss_high: Mapped[float | None]
    task_loss: Mapped[float | None]
    task_loss_low: Mapped[float | None]
    task_loss_high: Mapped[float | None]
    speedup: Mapped[float | None]
    speedup_low: Mapped[float | None]
    speedup_high: Mapped[float | None]
    modelled_speedup: Mapped[float | None]
    target: Mapped[str] = mapped_column(default="")
    pages_attended: Mapped[float | None]
    bytes_per_page: Mapped[float | None]
    confirmed: Mapped[bool] = mapped_column(default=False)
    confirmed_accuracy: Mapped[float | None]
    confirmed_accuracy_low: Mapped[float | None]
    confirmed_accuracy_high: Mapped[float | None]
    confirmed_kl: Mapped[float | None]
    confirmed_kl_low: Mapped[float | None]
    confirmed_kl_high: Mapped[float | None]
    confirmed_retrieval_loss: Mapped[float | None]
    confirmed_retrieval_loss_low: Mapped[float | None]
    confirmed_retrieval_loss_high: Mapped[float | None]
