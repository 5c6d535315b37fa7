"""Standings are per cost ratio and circumstance: the machine, the model, the evaluator's version, the lengths.

They are derived from evaluations. Here each candidate keeps its place, at ratio 0 (programs as written, judged before
there were ratios); whoever upgrades writes the figures anew, so that what two machines measured no longer stands in
one row.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column, Double, ForeignKey, PrimaryKeyConstraint, Text, UniqueConstraint

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PLACE = ("candidate_id", "campaign_id", "program_digest", "status", "device")
CIRCUMSTANCE = ("ratio", "lengths", "model_digest", "environment_digest", "evaluator_version")
NAMED = (
    *("lengths", "model_digest", "environment_digest", "evaluator_version", "fitted_digest", "workload", "device"),
    *("status", "reason", "retrieval_lengths", "accuracy_lengths", "target"),
)
SPREAD = (
    *("accuracy", "kl", "perplexity_ratio", "retrieval", "retrieval_loss", "task_loss", "speedup"),
    *("confirmed_accuracy", "confirmed_kl", "confirmed_retrieval_loss"),
)
SINGLE = (
    *("cost_ratio", "budget", "recall", "agreement", "dense_retrieval", "modelled_speedup"),
    *("pages_attended", "bytes_per_page"),
)
OLD = (
    *("accuracy", "accuracy_low", "accuracy_high", "recall", "speedup", "speedup_low", "speedup_high"),
    *("pages_attended", "bytes_per_page"),
    *("confirmed_accuracy", "confirmed_accuracy_low", "confirmed_accuracy_high"),
)


def upgrade() -> None:
    """Give each candidate of the old table a row without figures."""
    kept = _take(PLACE)
    _create()
    empty = dict.fromkeys(NAMED, "") | {"ratio": 0.0, "mixed_lengths": False, "confirmed": False}
    _put([empty | row for row in kept])


def downgrade() -> None:
    """Keep the first row of each candidate."""
    rows = _take(("id", *PLACE, *OLD, "confirmed"))
    first = {row["candidate_id"]: row for row in sorted(rows, key=itemgetter("id"), reverse=True)}
    _create_old()
    _put([{name: value for name, value in row.items() if name != "id"} for row in first.values()])


def _take(names: Sequence[str]) -> list[dict[str, Any]]:
    """Read these columns of all rows, and drop the table."""
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in names]
    query: Any = sa.select(*columns).select_from(sa.table("standing"))
    kept = [dict(row) for row in op.get_bind().execute(query).mappings()]
    op.drop_table("standing")
    return kept


def _put(rows: list[dict[str, Any]]) -> None:
    if rows:
        op.bulk_insert(sa.table("standing", *(sa.column(name) for name in rows[0])), rows)


def _owned() -> tuple[Column[int], Column[int], Column[str]]:
    return (
        Column("candidate_id", ID, ForeignKey("candidate.id", name="fk_standing_candidate_id"), nullable=False),
        Column("campaign_id", ID, ForeignKey("campaign.id", name="fk_standing_campaign_id"), nullable=False),
        Column(
            "program_digest", Text(), ForeignKey("program.digest", name="fk_standing_program_digest"), nullable=False
        ),
    )


def _create() -> None:
    op.create_table(
        "standing",
        Column("id", ID, nullable=False),
        *_owned(),
        Column("ratio", Double(), nullable=False),
        *(Column(name, Text(), nullable=False) for name in NAMED),
        *(Column(name, sa.Boolean(), nullable=False) for name in ("mixed_lengths", "confirmed")),
        *(Column(f"{name}{end}", Double()) for name in SPREAD for end in ("", "_low", "_high")),
        *(Column(name, Double()) for name in SINGLE),
        PrimaryKeyConstraint("id", name="pk_standing"),
        UniqueConstraint("campaign_id", "program_digest", *CIRCUMSTANCE, name="uq_standing_campaign_id"),
    )
    op.create_index("ix_standing_candidate_id", "standing", ["candidate_id"])
    op.create_index("ix_standing_campaign_id_ratio_kl", "standing", ["campaign_id", "ratio", "kl"])
    op.create_index("ix_standing_ratio_kl", "standing", ["ratio", "kl"])


def _create_old() -> None:
    op.create_table(
        "standing",
        *_owned(),
        *(Column(name, Double()) for name in OLD),
        *(Column(name, Text(), nullable=False) for name in ("device", "status")),
        Column("confirmed", sa.Boolean(), nullable=False),
        PrimaryKeyConstraint("candidate_id", name="pk_standing"),
        UniqueConstraint("campaign_id", "program_digest", name="uq_standing_campaign_id"),
    )
    op.create_index("ix_standing_accuracy", "standing", ["accuracy"])
    op.create_index("ix_standing_campaign_id_accuracy", "standing", ["campaign_id", "accuracy"])
