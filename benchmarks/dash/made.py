"""A ledger as large as wanted, drawn from a seed, on which the dashboard is measured and walked. Nothing was measured.

Rows are written straight into the tables, which a campaign of 200,000 rules would take weeks to fill.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from search.records import Environment, Stage, Workload, digest_of
from search.store import models
from search.store.database import connect
from search.store.derived import tally
from search.store.derived.place import place
from search.store.ledger import SqlLedger

if TYPE_CHECKING:
    from collections.abc import Iterator

RATIOS = (4.0, 8.0, 16.0)
LENGTHS = (3072, 4096)
JUDGED, SERVED, ASKED, PAID = 0.1, 0.02, 0.02, 0.25  # shares of rules
BATCH = 2000
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
HERE = Environment("AMD EPYC", "6.1", "3.11", "2.13.0", "0.32.0", "", "float32")
THERE = Environment("NVIDIA H200", "580", "3.11", "2.13.0", "0.32.0", "", "bfloat16")
PROPOSERS = ("grammar", "greedy", "best_of_n", "llm:large", "llm:small")
MOVES = ("mutate", "cross", "regrow", "random", "two_levels", "recenter+reserve", "tune", "explore")
FIELDS = (
    "k.mean('token')",
    "k.max('token')",
    "k.min('token')",
    "k.mean('token').to('int8')",
    "k.max('token').to('int4')",
)
HOSTILE = (
    "<script>alert('name')</script>",
    "\x1b[31mred\x1b[0m and \x07",
    "right \u202egnirts desrever\u202c left",
    "an & entity &lt;b&gt; \"quoted\" 'twice'",
)
TEXT = '''from vortex_dsl import Int, Program, dot, topk


class {name}(Program):
    """Idea {number}: {idea}"""

    pages = Int(64, low=1, high=1024, log=True)

    def summarize(self, k, v):
        return {{"kept": {kept}}}

    def select(self, q, page):
        return topk(dot(q, page.kept, "dim").max("head"), self.pages)
'''


@dataclass(frozen=True)
class Size:
    """How much to draw."""

    rules: int = 10_000
    campaigns: int = 3
    seed: int = 0


def make(url: str, size: Size) -> None:
    """Fill a new database."""
    SqlLedger(url).close()
    engine = connect(url)
    with Session(engine) as session, session.begin():
        workloads = _circumstances(session)
        number = 0
        for campaign in range(1, size.campaigns + 1):
            own = size.rules // size.campaigns + (campaign <= size.rules % size.campaigns)
            _campaign(session, campaign, own)
            for start in range(0, own, BATCH):
                _batch(session, campaign, range(start, min(start + BATCH, own)), number, size.seed, workloads)
            number += own
        tally.rebuild(session)
    engine.dispose()


def _circumstances(session: Session) -> dict[tuple[str, float], str]:
    for where in (HERE, THERE):
        session.add(models.Environment(digest=where.digest, definition=asdict(where)))
    found = {}
    for stage in (Stage.CHECK, Stage.RECALL, Stage.FIDELITY, Stage.SERVE):
        for ratio in RATIOS:
            asked = Workload(stage, max(LENGTHS), 8, lengths=LENGTHS, ratio=ratio)
            session.add(models.Workload(digest=asked.digest, split="search", definition=asdict(asked)))
            found[stage, ratio] = asked.digest
    return found


def _campaign(session: Session, number: int, rules: int) -> None:
    session.add(
        models.Campaign(
            id=number, seed=number, num_candidates=rules + rules // 10, proposers=list(PROPOSERS),
            model="smollm2" if number % 2 else "a-model", settings=json.dumps({"ratios": RATIOS}),
            created_at=BEGAN + timedelta(days=number),
        )
    )  # fmt: skip
    session.flush()


def _batch(
    session: Session, campaign: int, steps: range, before: int, seed: int, workloads: dict[tuple[str, float], str]
) -> None:
    tables: dict[type[models.Base], list[dict[str, Any]]] = {
        table: []
        for table in (
            models.Source, models.Program, models.Candidate, models.Hypothesis, models.Note, models.Evaluation,
            models.CandidateEvaluation, models.Measurement, models.Standing,
        )
    }  # fmt: skip
    for step in steps:
        number = before + step + 1
        draw = random.Random(f"{seed} {number}")
        digest = digest_of([seed, number])
        tables[models.Source].append({"digest": digest, "text": _text(number, draw)})
        program = {"digest": digest, "source_digest": digest, "values": [], "name": _name(number, step)}
        tables[models.Program].append({**program, "first_seen_at": BEGAN})
        tables[models.Candidate].append(_candidate(campaign, number, step, digest, draw))
        _journal(tables, number, draw)
        for table, row in _measured(campaign, number, step, digest, draw, workloads):
            tables[table].append(row)
    for table, found in tables.items():
        if found:
            session.connection().execute(insert(table.__table__), found)


def _name(number: int, step: int) -> str:
    return HOSTILE[step] if step < len(HOSTILE) else f"rule_{number}"


def _text(number: int, draw: random.Random) -> str:
    idea = HOSTILE[number % len(HOSTILE)] if number < 20 else f"keep what the {draw.choice(MOVES)} kept"
    return TEXT.format(name=f"Rule{number}", number=number, idea=idea, kept=draw.choice(FIELDS))


def _candidate(campaign: int, number: int, step: int, digest: str, draw: random.Random) -> dict[str, Any]:
    is_published = step % 500 == 10
    proposer = "zoo" if is_published else draw.choice(PROPOSERS)
    is_paid = proposer.startswith("llm") and draw.random() < PAID
    return {
        "id": number, "campaign_id": campaign, "step": step, "source_digest": digest, "values": [],
        "proposer": proposer, "operator": "seed" if is_published else draw.choice(MOVES),
        "parents": [digest_of([0, number - 1])] if step else [], "rationale": HOSTILE[step % len(HOSTILE)][:40],
        "prompt_tokens": 4000 if is_paid else 0, "completion_tokens": 600 if is_paid else 0,
        "dollars": draw.uniform(0.001, 0.02) if is_paid else 0.0, "elapsed_s": draw.uniform(0.01, 2.0),
        "status": "ok", "message": "", "program_digest": digest, "name": _name(number, step), "conversation": None,
        "created_at": BEGAN + timedelta(days=campaign, seconds=9 * step),
    }  # fmt: skip


def _journal(tables: dict[type[models.Base], list[dict[str, Any]]], number: int, draw: random.Random) -> None:
    if draw.random() < ASKED or number < len(HOSTILE):
        said = {"candidate_id": number, "position": 0, "text": HOSTILE[number % len(HOSTILE)]}
        tables[models.Hypothesis].append({**said, "prediction": f"kl < {draw.uniform(0.01, 0.2):.3f}"})
        tables[models.Note].append({**said, "kind": "holds"})


def _measured(
    campaign: int, number: int, step: int, digest: str, draw: random.Random, workloads: dict[tuple[str, float], str]
) -> Iterator[tuple[type[models.Base], dict[str, Any]]]:
    """Give a rule's evaluations and standings."""
    luck = draw.gauss(0, 1)
    is_judged = draw.random() < JUDGED or step % 500 == 10
    is_served = is_judged and draw.random() < SERVED / JUDGED
    for position, ratio in enumerate(RATIOS):
        kl = 0.01 * ratio * 2.0 ** (luck + draw.gauss(0, 0.2)) if is_judged else None
        recall = 1 / (1 + 0.02 * ratio * 2.0**luck)
        speed = ratio * draw.uniform(0.25, 0.6) if is_served else None
        stages = ((Stage.RECALL, "recall", recall), (Stage.FIDELITY, "kl", kl), (Stage.SERVE, "speedup", speed))
        for i, (stage, name, value) in enumerate(stages):
            if value is not None:
                each = 9 * number + 3 * position + i
                yield models.Evaluation, _evaluation(each, stage, digest, workloads[stage, ratio], campaign, step, draw)
                yield models.CandidateEvaluation, {"candidate_id": number, "evaluation_id": each}
                ends = {"low": 0.9 * value, "high": 1.1 * value, "num_samples": 8}
                yield models.Measurement, {"evaluation_id": each, "position": 0, "name": name, "value": value, **ends}
        yield models.Standing, _standing(campaign, number, digest, ratio, draw, kl, recall, speed)


def _evaluation(
    number: int, stage: Stage, digest: str, workload: str, campaign: int, step: int, draw: random.Random
) -> dict[str, Any]:
    where = _where(campaign)
    took = {Stage.RECALL: 0.7, Stage.FIDELITY: 12.0, Stage.SERVE: 40.0}[stage]
    return {
        "id": number, "program_digest": digest, "stage": stage.value, "workload_digest": workload,
        "model_digest": _model(campaign), "environment_digest": where.digest, "evaluator_version": "3", "seed": 0,
        "repeat": 0, "owner": None, "lease_until": None, "begun": False, "num_deaths": 0, "status": "ok", "message": "",
        "correct": "", "answers": "", "elapsed_s": took * draw.uniform(0.5, 1.5),
        "finished_at": BEGAN + timedelta(days=campaign, seconds=9 * step + 5),
    }  # fmt: skip


def _where(campaign: int) -> Environment:
    return HERE if campaign % 2 else THERE


def _model(campaign: int) -> str:
    return digest_of("smollm2" if campaign % 2 else "a-model")


def _standing(
    campaign: int, number: int, digest: str, ratio: float, draw: random.Random, kl: float | None, recall: float,
    speed: float | None,
) -> dict[str, Any]:  # fmt: skip
    where = _where(campaign)
    loss = None if kl is None else min(1.0, kl * draw.uniform(0.5, 2))
    row = {
        "candidate_id": number, "campaign_id": campaign, "program_digest": digest, "ratio": ratio,
        "lengths": ",".join(map(str, LENGTHS)), "model_digest": _model(campaign), "environment_digest": where.digest,
        "evaluator_version": "3", "fitted_digest": digest, "workload": "w" * 16, "device": where.device,
        "dtype": where.dtype, "status": "ok", "target": "H200" if kl is not None else "",
        "reason": "" if speed else "passed recall; fidelity was not run: not chosen for it, or not yet",
        "mixed_lengths": False, "retrieval_lengths": "", "accuracy_lengths": "", "confirmed": False,
        "cost_ratio": ratio * draw.uniform(1.0, 1.1), "budget": 64.0,
        "bytes_per_page": draw.choice((64.0, 128.0, 256.0)), "accuracy": None,
        "pages_attended": 100 / ratio, "recall": recall, **_spread("kl", kl), **_spread("speedup", speed),
        **_spread("retrieval_loss", loss), "modelled_speedup": ratio * draw.uniform(0.5, 0.9) if kl else None,
        "agreement": None if kl is None else 1 / (1 + kl),
        "retrieval": None if loss is None else 0.9 - 0.9 * loss, "dense_retrieval": None if loss is None else 0.9,
    }  # fmt: skip
    return {**row, "place": place(row)}


def _spread(name: str, value: float | None) -> dict[str, float | None]:
    low, high = (None, None) if value is None else (0.9 * value, 1.1 * value)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
