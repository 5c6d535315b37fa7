"""Under which circumstances figures hold, and what was not measured."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from search.parents import REFERENCE, SEED
from search.ranking.leaderboard import modelled_on
from search.records import Stage
from search.report.blocks import Block, Column, Grid, Items
from search.report.merit import is_found, is_published

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from search.report.material import Material, Place

SAID_ELSEWHERE = ("workloads", "seeds")
WITHOUT = {
    Stage.RECALL: "how much attention chosen pages keep on recorded queries (recall)",
    Stage.FIDELITY: "the distance from dense attention on the same text (fidelity)",
    Stage.RETRIEVAL: "answers to questions about long texts (retrieval)",
    Stage.PROBE: "chains of the small model that was trained for them (probe)",
    Stage.TASK: "tasks of lm-eval",
    Stage.SERVE: "speed",
}


def circumstances(material: Material) -> list[Block]:
    """Tell the model, the machines, the settings, and plainly what is missing."""
    return [_places(material), _workloads(material), _settings(material)]


def unmeasured(material: Material) -> list[Block]:
    """Say what the figures do not show."""
    return [Items(tuple(_missing(material)))]


def _places(material: Material) -> Grid:
    rows = []
    for place in material.places:
        where = place.environment
        versions = (f"{name} {value}" for name, value in (("vLLM", where.vllm), ("torch", where.torch),
                    ("Python", where.python), ("driver", where.driver), ("commit", where.commit)) if value)  # fmt: skip
        rows.append((
            f"{material.campaign.model} ({place.model_digest[:8]})", where.device, where.dtype or "unknown",
            ", ".join(versions), place.evaluator_version,
        ))  # fmt: skip
    headings = tuple(map(Column, ("model", "device", "dtype", "versions", "evaluator")))
    return Grid("Where it was measured", headings, tuple(rows), empty="Nothing has been measured anywhere.")


def _workloads(material: Material) -> Grid:
    headings = (Column("stage"), Column("texts", True), Column("tokens"), Column("decoded", True),
                Column("repeats", True), Column("source"))  # fmt: skip
    rows = tuple(_workload(each) for each in material.settings.get("workloads", ()))
    return Grid("What each stage asks", headings, rows, empty="The campaign's settings name no stage.")


def _workload(each: Mapping[str, Any]) -> tuple[str, ...]:
    lengths = each.get("lengths") or [each.get("num_tokens", 0)]
    return (
        str(each.get("stage", "")),
        str(each.get("num_sequences", "")),
        ", ".join(f"{n:,}" for n in lengths),
        str(each.get("num_decoded", 0) or "–"),
        str(each.get("repeats", 1)),
        str(each.get("source", "")) or "its own",
    )


def _settings(material: Material) -> Grid:
    campaign = material.campaign
    asked = f"{campaign.num_candidates:,}"
    rows = [("campaign", str(campaign.id)), ("seed", str(campaign.seed)), ("candidates asked for", asked)]
    known = {k: v for k, v in sorted(material.settings.items()) if k not in (*SAID_ELSEWHERE, "seed", "num_candidates")}
    rows += [(name.replace("_", " "), _value(value)) for name, value in known.items()]
    seeds = material.settings.get("seeds", ())
    rows.append(("seeds", f"{len(seeds)}: {', '.join(map(str, seeds))}"))
    return Grid("Settings", (Column("setting"), Column("value")), tuple(rows))


def _value(value: object) -> str:
    if isinstance(value, list):
        number = Counter(map(str, value))
        return ", ".join(f"{name} (x{n})" if n > 1 else name for name, n in number.items()) or "none"
    return value if isinstance(value, str) else json.dumps(value)


def _missing(material: Material) -> Iterator[str]:
    stages = material.stages
    if not material.places:
        yield "Nothing has been measured."
    for stage, what in WITHOUT.items():
        if stages and stage not in stages:
            yield f"The campaign does not measure {what}."
    for place in material.places:
        yield from _missing_at(place, f" on {place.environment.device}" if len(material.places) > 1 else "")
    yield "One campaign with one seed: how much another seed would find is not known."
    if material.num_running:
        yield f"{material.num_running:,} evaluations are under way: this is not the end of it."
    invented = sum(c.proposal.operator not in (SEED, REFERENCE) for c in material.candidates)
    if invented < material.campaign.num_candidates:
        yield f"Only {invented:,} of the {material.campaign.num_candidates:,} candidates asked for were proposed."


def _missing_at(place: Place, where: str) -> Iterator[str]:
    rows = [s for section in place.at.values() for s in section.rows]
    published = {s.id for s in rows if is_published(s)}
    confirmed = [s for s in rows if s.confirmed]
    if not confirmed:
        yield f"Nothing was confirmed on held-out data{where}: every figure is of texts that proposers learned from."
    else:
        ours = len({s.id for s in confirmed if is_found(s)})
        theirs = len({s.id for s in confirmed if is_published(s)})
        yield f"Held-out data were seen by {ours} found and {theirs} of {len(published)} published rules{where}."
    served = {s.id for s in rows if s.speedup is not None}
    ranked = {s.id for section in place.at.values() for s in (*section.front, *section.folded)}
    if ranked:
        yield f"Speed was measured of {len(served)} of {len(ranked)} rules that have a loss{where}."
    target = modelled_on(rows)
    if target:
        yield f"Speed on {target} is modelled by bytes and launches, not measured{where}."
    longest = max((n for s in rows for n in (*s.lengths, *s.retrieval_lengths, *s.accuracy_lengths)), default=0)
    if longest:
        yield f"No text was longer than {longest:,} tokens{where}."
