"""A ledger of any size within a minute or two: rows as a long campaign leaves them, written in bulk.

All candidates are of one campaign at three cost ratios. Each is checked at every ratio, reaches one and is screened
there, every second one is in recall, every fourth decodes and is asked for retrieval: five evaluations a candidate, and
no stage is left to any. Figures are drawn; texts and signatures are as long as those of real campaigns. Of a stage's
measurements a few are written, since nothing but `show` reads an evaluation's forty.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from search.config import RATIOS, CampaignConfig
from search.records import Environment, EvaluationKey, Stage, StoredCampaign, Workload
from search.store.derived import tally
from search.store.derived.place import place
from search.store.derived.standing import asked_by, joined
from search.store.ledger import SqlLedger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

BATCH = 5_000  # candidates at a time
GOES_ON = 2  # the campaign asks for so many times what is there: one that is over tells agents nothing
LENGTHS = (512, 1024, 2048)
MODEL, VERSION, TARGET = "0123456789abcdef", "7", "H200"
ENVIRONMENT = Environment("NVIDIA H200", "CUDA 13", "3.12.3", "2.13.0", "vllm 0.32.0", "abc", "bfloat16")
TEXT = "class Rule{step}(Program):\n" + "    # a line of a rule that is as long as most of them are\n" * 14
CREATED = "2026-01-01 00:00:00"
FIGURES = {
    Stage.CHECK: ("cost_ratio", "budget", "bytes_per_page", f"modelled_speedup_{TARGET}", "flops", "launches"),
    Stage.SCREEN: ("recall", "mass", "random_mass", "error_layer_0"),
    Stage.RECALL: ("recall", "mass", "random_mass", "error_layer_0", "error_layer_1", "error_layer_2"),
    Stage.FIDELITY: ("kl", "agreement", "perplexity_ratio", "pages_attended"),
    Stage.RETRIEVAL: ("accuracy", "dense_accuracy", "loss"),
}
WORKLOADS = tuple(Workload(stage, max(LENGTHS), 4, lengths=LENGTHS) for stage in FIGURES)
CONFIG = CampaignConfig(model="model", workloads=WORKLOADS, outside=("agent",))
COLUMNS = {
    "source": ("digest", "text"),
    "program": ("digest", "source_digest", "values", "name", "first_seen_at"),
    "candidate": (
        "id", "campaign_id", "step", "source_digest", "values", "proposer", "operator", "parents", "rationale",
        "prompt_tokens", "completion_tokens", "dollars", "elapsed_s", "status", "message", "program_digest", "name",
        "created_at",
    ),
    "evaluation": (
        "id", "program_digest", "stage", "workload_digest", "model_digest", "environment_digest", "evaluator_version",
        "seed", "repeat", "begun", "num_deaths", "status", "message", "correct", "answers", "elapsed_s", "finished_at",
    ),
    "candidate_evaluation": ("candidate_id", "evaluation_id"),
    "measurement": ("evaluation_id", "position", "name", "value", "low", "high", "num_samples"),
    "standing": (
        "candidate_id", "campaign_id", "program_digest", "ratio", "lengths", "model_digest", "environment_digest",
        "evaluator_version", "fitted_digest", "workload", "device", "dtype", "status", "reason", "mixed_lengths",
        "retrieval_lengths", "accuracy_lengths", "cost_ratio", "kl", "kl_low", "kl_high", "retrieval_loss", "recall",
        "modelled_speedup", "target", "bytes_per_page", "confirmed", "place",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Filled:
    """What is there: a campaign, and the ids and digests of some of its candidates, the newest last."""

    url: str
    campaign: StoredCampaign
    num_candidates: int
    num_evaluations: int
    ids: tuple[int, ...]
    digests: tuple[str, ...]


def fill(url: str, num_candidates: int) -> Filled:
    """Fill an empty database with a campaign of so many candidates, and let it count its rows as it does by itself."""
    from search.store.database import connect

    ledger, config = SqlLedger(url), replace(CONFIG, num_candidates=GOES_ON * num_candidates)
    campaign = ledger.create_campaign(
        StoredCampaign(0, config.num_candidates, config.proposers, config.model, config.to_json())
    )
    ledger.close()
    engine, rows, digests = connect(url), _Rows(campaign), []
    _put(engine, "environment", ("digest", "definition"), [(ENVIRONMENT.digest, json.dumps(asdict(ENVIRONMENT)))])
    asked = [(each.digest, each.split, json.dumps(asdict(each))) for each in rows.workloads.values()]
    _put(engine, "workload", ("digest", "split", "definition"), asked)
    for first in range(0, num_candidates, BATCH):
        digests += [rows.add(step) for step in range(first, min(first + BATCH, num_candidates))]
        for table, columns in COLUMNS.items():
            _put(engine, table, columns, rows.of.pop(table, []))
    with Session(engine) as session, session.begin():
        tally.rebuild(session)
    _finish(engine)
    engine.dispose()
    some = range(0, num_candidates, max(1, num_candidates // 200))
    ids, known = tuple(step + 1 for step in some), tuple(digests[step] for step in some)
    return Filled(url, campaign, num_candidates, rows.num_evaluations, ids, known)


class _Rows:
    """Rows by table, as they are made for one candidate after the other."""

    def __init__(self, campaign: StoredCampaign) -> None:
        self.of: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self.num_evaluations = 0
        self._campaign, self._asked = campaign, asked_by(campaign.settings).digest
        self._drawn = random.Random(0)
        self.workloads = {(w.stage, r): CONFIG.workload(w.stage, r) for w, r in itertools.product(WORKLOADS, RATIOS)}

    def add(self, step: int) -> str:
        """Make the rows of a step, and give its program's digest."""
        digest, source = self._digest(), self._digest()
        name, values = f"Rule{step}", json.dumps([["pages", step]])
        self.of["source"].append((source, TEXT.format(step=step)))
        self.of["program"].append((digest, source, values, name, CREATED))
        self.of["candidate"].append((
            step + 1, self._campaign.id, step, source, values, ("grammar", "greedy", "agent")[step % 3], "mutate", "[]",
            "", 100, 10, 0.001, 0.1, "ok", "", digest, name, CREATED,
        ))  # fmt: skip
        for ratio in RATIOS:
            self._at(step, digest, ratio)
        return digest

    def _at(self, step: int, digest: str, ratio: float) -> None:
        """Make what is measured at a cost ratio."""
        fitted, lost = self._digest(), self._drawn.lognormvariate(-1, 1)
        self.of["program"].append((fitted, self.of["source"][-1][0], "[]", "", CREATED))
        mine = ratio == RATIOS[step % len(RATIOS)]
        stages = [Stage.CHECK, *([Stage.SCREEN] if mine else [])]
        stages += [Stage.RECALL] if mine and step % 2 else []
        stages += [Stage.FIDELITY, Stage.RETRIEVAL] if mine and step % 4 == 1 else []
        status = "ok" if mine else "below_gate"
        for stage in stages:
            self._evaluate(step, fitted, stage, ratio, status, is_last=stage is stages[-1])
        kl = lost if Stage.FIDELITY in stages else None
        row = {
            "candidate_id": step + 1, "campaign_id": self._campaign.id, "program_digest": digest, "ratio": ratio,
            "lengths": joined(LENGTHS), "model_digest": MODEL, "environment_digest": ENVIRONMENT.digest,
            "evaluator_version": VERSION, "fitted_digest": fitted, "workload": self._asked,
            "device": ENVIRONMENT.device, "dtype": ENVIRONMENT.dtype, "status": status,
            "reason": f"passed {stages[-1]}",
            "mixed_lengths": False, "retrieval_lengths": joined(LENGTHS), "accuracy_lengths": "", "cost_ratio": ratio,
            "kl": kl, "kl_low": kl and 0.9 * kl, "kl_high": kl and 1.1 * kl, "speedup": None, "accuracy": None,
            "retrieval_loss": kl and kl * self._drawn.random(), "recall": 0.9 if Stage.RECALL in stages else None,
            "modelled_speedup": ratio * self._drawn.random(), "target": TARGET, "confirmed": False,
            "bytes_per_page": 100 * self._drawn.random(),
        }  # fmt: skip
        row["place"] = place(row)
        self.of["standing"].append(tuple(row[name] for name in COLUMNS["standing"]))

    def _evaluate(self, step: int, digest: str, stage: Stage, ratio: float, status: str, *, is_last: bool) -> None:
        self.num_evaluations += 1
        number, workload = self.num_evaluations, self.workloads[stage, ratio]
        key = EvaluationKey(digest, stage, workload.digest, MODEL, ENVIRONMENT.digest, VERSION, 0)
        answers = f"{self._drawn.getrandbits(1024):0256x}" if stage is Stage.SCREEN else ""
        ended = (False, 0, status, "", "", answers, 0.5, CREATED)
        self.of["evaluation"].append((number, *map(_plain, asdict(key).values()), *ended))
        self.of["candidate_evaluation"].append((step + 1, number))
        for position, name in enumerate(FIGURES[stage]):
            is_no_better = name == "random_mass" and is_last  # than chance: so it goes no further
            value = 1.0 if is_no_better else self._drawn.random()
            self.of["measurement"].append((number, position, name, value, 0.9 * value, 1.1 * value, 4))

    def _digest(self) -> str:
        return f"{self._drawn.getrandbits(64):016x}"


def _plain(value: object) -> object:
    return value.value if isinstance(value, Stage) else value


def _put(engine: Engine, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Write rows in bulk, by the driver itself."""
    names = ", ".join(f'"{name}"' for name in columns)
    with engine.begin() as connection:
        cursor = connection.connection.cursor()
        if engine.dialect.name == "sqlite":
            cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})", rows)
            return
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def _finish(engine: Engine) -> None:
    """Let the database learn what its tables hold, and PostgreSQL number rows from where these end."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            for table in ("candidate", "evaluation"):
                connection.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
                )
        connection.exec_driver_sql("VACUUM ANALYZE" if engine.dialect.name == "postgresql" else "PRAGMA optimize")
