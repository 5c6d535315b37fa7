"""The newest result of the ablation as the Markdown of `docs/ablation.md`, and its file."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.agents import student
from search.evaluator.identity import EVALUATOR_VERSION, environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.agents.ablation import Rise, Worth

FOLDER = Path(__file__).parents[1] / "results"
ABOUT, DTYPE = "agents_ablation", "float32"
HEAD = """\
# What the parts of a question are worth to a scripted student

Written from the newest file of `benchmarks/results/` by

```sh
python -m benchmarks.search --record recorded.safetensors   # once: a model's queries, keys and values, in vLLM
python -m benchmarks.agents ablation --recordings recorded.safetensors
python -m benchmarks.agents ablation --markdown > docs/ablation.md
```

A campaign at a cost ratio of 16 asks a scripted student instead of a language model: real loop, ledger, questions,
conversations and looks, on recorded queries, keys and values. The student reads nothing but the messages, and turns
one fact after another into odds of the house's own moves; each arm cuts another part out of the questions. Mass is the
share of the attention weights that the best rule keeps: *seen* on what the search is shown, *rise* on other documents
and other layers, over the published rule that one would choose by the same data. *less* is by how much an arm stays
behind the whole question with the same seed: a part is worth something where the interval lies above 0. Intervals are
Student's over seeds, of 95 %.

This shows whether facts reach a reader that acts on them by plain rules, and whether acting on them pays, on one
recorded model. It does not show what a language model makes of them: where a section loses, the student's rule for it
may be the poor one, and none was fitted to the outcome. What is cut leaves room that nothing else fills.

No part is told apart from the whole yet, and this is why, as far as the searches show. An answer that is looked at and
taken back counts, so that with the look 60 answers come to some 15 proposals, of which 6 to 14 are measured, beside 60
proposals without it: searches are too short to add one change to another, and half of them find nothing above the
published rule, whose choice by place alone is hard to beat at this cost ratio. Single changes that facts ask for do pay
(of the mean key: four bits, a choice kept for eight steps, or the slower half of the channels add 0.07 to 0.09 of the
seen mass each), and one search that made several of them kept 0.817 of the seen and 0.725 of the unseen mass. A second
student, which turned odds by 10 instead of 3 and read the statistics of queries and keys, was stopped after nine
searches: +0.057, 0, 0, 0 and +0.010 with the whole question, 0, +0.013, +0.013 and 0 as it was before."""
NONE_YET = "*Not measured yet.*"


def new_file(folder: Path) -> Path:
    """Name a file for a result that begins now."""
    return folder / f"{ABOUT}_{time.strftime('%Y-%m-%dT%H%M%SZ', time.gmtime())}.json"


def write(path: Path, recording: Path, num_answers: int, rises: Sequence[Rise], worths: Sequence[Worth]) -> None:
    """Write all that there is so far, with its circumstances."""
    with recording.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()[:16]
    told = {
        "measured_to": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "environment": asdict(environment(DTYPE)),
        "evaluator_version": EVALUATOR_VERSION,
        "recording": digest,
        "num_answers": num_answers,
        "worths": [asdict(each) for each in worths],
        "rises": [asdict(each) for each in rises],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1, allow_nan=False) + "\n")


def page(folder: Path) -> str:
    """Write the page from the newest file of a folder."""
    paths = sorted(folder.glob(f"{ABOUT}_*.json"))
    told = _of(json.loads(paths[-1].read_text())) if paths else [NONE_YET]
    return "\n\n".join([HEAD, *told, "## What the student does with what it reads", _reading()]) + "\n"


def _reading() -> str:
    assert student.__doc__
    return student.__doc__.split("\n\n", 1)[1].strip()


def _of(found: Mapping[str, Any]) -> list[str]:
    here, seeds = found["environment"], sorted({each["seed"] for each in found["rises"]})
    answers, published = found["num_answers"], found["rises"][0]["seeds"]
    told = (
        f"Up to {len(seeds)} seeds, {answers} answers each; the published rule keeps {published:.3f} of the unseen "
        f"mass. Measured to {found['measured_to']} on {here['device']}, torch {here['torch']}, "
        f"recording {found['recording']}."
    )
    rows = [
        f"| {each['arm']} | {each['search']['value']:.3f} | {_interval(each['rise'])} | {_interval(each['less'])} | "
        f"{_interval(each['less_of_search'])} | {each['share_refused']:.0%} | {each['rise']['num_samples']} |"
        for each in found["worths"]
    ]
    head = (
        "| asked with | seen | rise | less | less of what was seen | refused | seeds |\n|---|---|---|---|---|---|---|"
    )
    return [told, "\n".join((head, *rows))]


def _interval(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return f"{found['value']:+.3f}"
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
