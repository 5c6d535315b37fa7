"""The ledger's first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column, Double, ForeignKey, PrimaryKeyConstraint, Text, UniqueConstraint

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INTEGER = sa.BigInteger()
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
TABLES = (
    "campaign",
    "source",
    "program",
    "candidate",
    "workload",
    "environment",
    "evaluation",
    "measurement",
    "candidate_evaluation",
    "standing",
)
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


def upgrade() -> None:
    """Make the tables, those first that others refer to."""
    _create_campaign()
    _create_program()
    _create_candidate()
    _create_circumstances()
    _create_evaluation()
    _create_measurement()
    _create_standing()


def downgrade() -> None:
    """Drop everything."""
    for table in reversed(TABLES):
        op.drop_table(table)


def _required(name: str, kind: Any, *arguments: Any, **options: Any) -> Column[Any]:
    return Column(name, kind, *arguments, nullable=False, **options)


def _create_campaign() -> None:
    op.create_table(
        "campaign",
        _required("id", ID),
        _required("seed", INTEGER),
        _required("num_candidates", INTEGER),
        _required("proposers", sa.JSON()),
        _required("model", Text()),
        _required("settings", Text()),
        _required("created_at", TIME, server_default=sa.func.now()),
        PrimaryKeyConstraint("id", name="pk_campaign"),
    )


def _create_program() -> None:
    op.create_table(
        "source",
        _required("digest", Text()),
        _required("text", Text()),
        PrimaryKeyConstraint("digest", name="pk_source"),
    )
    op.create_table(
        "program",
        _required("digest", Text()),
        _required("source_digest", Text(), ForeignKey("source.digest", name="fk_program_source_digest")),
        _required("values", sa.JSON()),
        _required("name", Text()),
        _required("first_seen_at", TIME, server_default=sa.func.now()),
        PrimaryKeyConstraint("digest", name="pk_program"),
    )


def _create_candidate() -> None:
    op.create_table(
        "candidate",
        _required("id", ID),
        _required("campaign_id", ID, ForeignKey("campaign.id", name="fk_candidate_campaign_id")),
        _required("step", INTEGER),
        _required("source_digest", Text(), ForeignKey("source.digest", name="fk_candidate_source_digest")),
        _required("values", sa.JSON()),
        _required("proposer", Text()),
        _required("operator", Text()),
        _required("parents", sa.JSON()),
        _required("rationale", Text()),
        _required("prompt_tokens", INTEGER),
        _required("completion_tokens", INTEGER),
        _required("dollars", Double()),
        _required("elapsed_s", Double()),
        _required("status", Text()),
        _required("message", Text()),
        Column("program_digest", Text(), ForeignKey("program.digest", name="fk_candidate_program_digest")),
        _required("name", Text()),
        _required("created_at", TIME, server_default=sa.func.now()),
        PrimaryKeyConstraint("id", name="pk_candidate"),
        UniqueConstraint("campaign_id", "step", name="uq_candidate_campaign_id"),
    )
    op.create_index("ix_candidate_program_digest", "candidate", ["program_digest"])


def _create_circumstances() -> None:
    op.create_table(
        "workload",
        _required("digest", Text()),
        _required("split", Text()),
        _required("definition", sa.JSON()),
        PrimaryKeyConstraint("digest", name="pk_workload"),
    )
    op.create_table(
        "environment",
        _required("digest", Text()),
        _required("definition", sa.JSON()),
        PrimaryKeyConstraint("digest", name="pk_environment"),
    )


def _create_evaluation() -> None:
    op.create_table(
        "evaluation",
        _required("id", ID),
        _required("program_digest", Text(), ForeignKey("program.digest", name="fk_evaluation_program_digest")),
        _required("stage", Text()),
        _required("workload_digest", Text(), ForeignKey("workload.digest", name="fk_evaluation_workload_digest")),
        _required("model_digest", Text()),
        _required("environment_digest", Text()),
        _required("evaluator_version", Text()),
        _required("seed", INTEGER),
        _required("repeat", INTEGER),
        Column("owner", Text()),
        Column("lease_until", Double()),
        _required("num_deaths", INTEGER),
        Column("status", Text()),
        _required("message", Text()),
        _required("correct", Text()),
        _required("answers", Text()),
        _required("elapsed_s", Double()),
        Column("finished_at", TIME),
        PrimaryKeyConstraint("id", name="pk_evaluation"),
        UniqueConstraint(*KEY, name="uq_evaluation_key"),
        sa.CheckConstraint("(owner IS NULL) = (lease_until IS NULL)", name=op.f("ck_evaluation_lease")),
        sa.CheckConstraint("owner IS NULL OR status IS NULL", name=op.f("ck_evaluation_finished_or_leased")),
    )


def _create_measurement() -> None:
    op.create_table(
        "measurement",
        _required("evaluation_id", ID, ForeignKey("evaluation.id", name="fk_measurement_evaluation_id")),
        _required("position", INTEGER),
        _required("name", Text()),
        Column("value", Double()),
        Column("low", Double()),
        Column("high", Double()),
        _required("num_samples", INTEGER),
        PrimaryKeyConstraint("evaluation_id", "position", name="pk_measurement"),
    )
    op.create_table(
        "candidate_evaluation",
        _required("candidate_id", ID, ForeignKey("candidate.id", name="fk_candidate_evaluation_candidate_id")),
        _required("evaluation_id", ID, ForeignKey("evaluation.id", name="fk_candidate_evaluation_evaluation_id")),
        PrimaryKeyConstraint("candidate_id", "evaluation_id", name="pk_candidate_evaluation"),
    )
    op.create_index("ix_candidate_evaluation_evaluation_id", "candidate_evaluation", ["evaluation_id"])


def _create_standing() -> None:
    op.create_table(
        "standing",
        _required("candidate_id", ID, ForeignKey("candidate.id", name="fk_standing_candidate_id"), autoincrement=False),
        _required("campaign_id", ID, ForeignKey("campaign.id", name="fk_standing_campaign_id")),
        _required("program_digest", Text(), ForeignKey("program.digest", name="fk_standing_program_digest")),
        *(Column(name, Double()) for name in ("accuracy", "accuracy_low", "accuracy_high", "recall")),
        *(Column(name, Double()) for name in ("speedup", "speedup_low", "speedup_high")),
        *(Column(name, Double()) for name in ("pages_attended", "bytes_per_page")),
        _required("device", Text()),
        _required("status", Text()),
        _required("confirmed", sa.Boolean()),
        *(Column(f"confirmed_accuracy{end}", Double()) for end in ("", "_low", "_high")),
        PrimaryKeyConstraint("candidate_id", name="pk_standing"),
        UniqueConstraint("campaign_id", "program_digest", name="uq_standing_campaign_id"),
    )
    op.create_index("ix_standing_accuracy", "standing", ["accuracy"])
    op.create_index("ix_standing_campaign_id_accuracy", "standing", ["campaign_id", "accuracy"])
