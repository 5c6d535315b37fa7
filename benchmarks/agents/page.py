"""The newest result of the ablation as the Markdown of `docs/ablation.md`, and its file."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.agents import student
from benchmarks.agents.ablation import ARMS, Rise, version, worths
from search.evaluator.identity import EVALUATOR_VERSION, environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FOLDER = Path(__file__).parents[1] / "results"
ABOUT, DTYPE = "agents_ablation", "float32"
HEAD = """\
# What the parts of a question are worth to a scripted student

Written from the newest file of `benchmarks/results/` by

```sh
python -m benchmarks.search --record recorded.safetensors   # once: a model's queries, keys and values, in vLLM
python -m benchmarks.agents ablation --recordings recorded.safetensors --minutes 9   # again and again: it goes on
python -m benchmarks.agents ablation --markdown > docs/ablation.md
```

A campaign at a cost ratio of 16 asks a scripted student instead of a language model: real loop, ledger, questions,
conversations and looks, on recorded queries, keys and values. The student reads nothing but the messages, and turns
one fact after another into odds of the house's own moves; each arm cuts something else out of the questions, or gives
no looks. All arms have equally many proposals. A conversation with looks gives up to four answers to come to one
proposal, so that answers and tokens, read and written, are told beside: at equal tokens an arm without looks would have
more proposals. As it was before, a question had one answer, and a refused program was not repaired.

Mass is the share of the attention weights that the best rule keeps: *seen* on what the search is shown, *rise* on other
documents and other layers, over the published rule that one would choose by the same data. *less* is by how much an arm
stays behind the whole with the same seed: something is worth its place where the interval lies above 0. Intervals are
bootstrapped over seeds, of 95 %. *In vain* is the share of the proposals that were refused or not measured.

This shows whether facts reach a reader that acts on them by plain rules, and whether acting on them pays, on one
recorded model. It does not show what a language model makes of them: where a section loses, the student's rule for it
may be the poor one, and none was fitted to the outcome. What is cut leaves room that nothing else fills."""
LEAST_SEEDS = 5  # of an arm that is told: fewer say nothing
NONE_YET = "*Not measured yet.*"


def circumstances(recording: Path, num_proposals: int) -> dict[str, Any]:
    """Give what searches must share to be compared: not the commit, of which `version` tells what matters here."""
    with recording.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()[:16]
    found = asdict(environment(DTYPE))
    return {
        "environment": {name: found[name] for name in ("device", "torch", "python")},
        "evaluator_version": EVALUATOR_VERSION,
        "recording": digest,
        "num_proposals": num_proposals,
        "student": version(),
    }


def begun(folder: Path, here: Mapping[str, Any]) -> tuple[Path, list[Rise]]:
    """Give the newest file with what it holds, where it was measured in these circumstances; else a new one."""
    paths = sorted(folder.glob(f"{ABOUT}_*.json"))
    found = json.loads(paths[-1].read_text()) if paths else {}
    if here.items() <= found.items():
        return paths[-1], [Rise(**each) for each in found["rises"]]
    return folder / f"{ABOUT}_{time.strftime('%Y-%m-%dT%H%M%SZ', time.gmtime())}.json", []


def write(path: Path, here: Mapping[str, Any], rises: Sequence[Rise]) -> None:
    """Write all that there is so far, with its circumstances."""
    places = {arm.name: place for place, arm in enumerate(ARMS)}
    ordered = sorted(rises, key=lambda each: (places[each.arm], each.seed))
    told = {
        "measured_to": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **here,
        "worths": [asdict(each) for each in worths(ordered)],
        "rises": [asdict(each) for each in ordered],
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
    told = (
        f"Up to {len(seeds)} seeds, {found['num_proposals']} proposals each; the published rule keeps "
        f"{found['rises'][0]['seeds']:.3f} of the unseen mass. Measured to {found['measured_to']} on {here['device']}, "
        f"torch {here['torch']}, recording {found['recording']}."
    )
    arms = [each for each in found["worths"] if each["rise"]["num_samples"] >= LEAST_SEEDS]
    rows = [
        f"| {each['arm']} | {each['seen']['value']:.3f} | {_interval(each['rise'])} | {_interval(each['less'])} | "
        f"{_interval(each['less_seen'])} | {each['share_refused']:.0%} | {each['num_answers']:.0f} | "
        f"{each['num_tokens'] / 1000:,.0f} k | {each['rise']['num_samples']} |"
        for each in arms
    ]
    head = "| asked with | seen | rise | less | less of what was seen | in vain | answers | tokens | seeds |"
    rule = "|---" * head.count(" | ") + "|---|"
    return [told, _verdict(arms), "\n".join((head, rule, *rows)), *_untold(arms)]


def _untold(told: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the arms that are not told, if there are any."""
    known = {each["arm"] for each in told}
    left = [arm.name for arm in ARMS if arm.name not in known]
    return [f"Not searched with {LEAST_SEEDS} seeds yet, so that nothing can be said: {_listed(left)}."] if left else []


def _verdict(arms: Sequence[Mapping[str, Any]]) -> str:
    """Say which arms are told apart from the whole, by either part of the recordings, as the intervals have it."""
    told, apart = [], {arms[0]["arm"]} if arms else set()
    for figure, where in (("less", "other documents and layers"), ("less_seen", "what the search is shown")):
        behind = [each["arm"] for each in arms if (each[figure]["low"] or 0) > 0]
        ahead = [each["arm"] for each in arms if (each[figure]["high"] or 0) < 0]
        told.append(f"By {where} told apart from the whole, seed by seed, as worse: {_listed(behind)}; as better: "
                    f"{_listed(ahead)}.")  # fmt: skip
        apart |= {*behind, *ahead}
    alike = [each["arm"] for each in arms if each["arm"] not in apart]
    return " ".join([*told, *([f"By neither, whatever their means: {_listed(alike)}."] if alike else [])])


def _listed(names: Sequence[str]) -> str:
    return "; ".join(names) if names else "none"


def _interval(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return f"{found['value']:+.3f}"
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
