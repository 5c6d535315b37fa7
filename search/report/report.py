"""From what the ledger holds to the report: the honest sentence first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.records import Stage
from search.report.blocks import Answer, Block, Part, Report, Words
from search.report.claim import Claim, claim, headline, sentence
from search.report.parts.circumstances import circumstances, unmeasured
from search.report.parts.costs import by_stage, costs
from search.report.parts.credit import credit
from search.report.parts.dead_ends import dead_ends
from search.report.parts.fronts import curves, fronts
from search.report.parts.journal import notes, predictions
from search.report.parts.lineage import lineages
from search.report.wording import title_case

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.report.material import Material, Place

MAX_PLACES = 6


def report(material: Material) -> Report:
    """Tell everything of one campaign. What was measured in different places stands in chapters of its own."""
    shown = material.places[:MAX_PLACES]
    claims = {i: claims_at(place, material) for i, place in enumerate(shown)}
    is_alone = len(shown) == 1
    said = [(place, headline(claims[i]), any(c.holds for c in claims[i])) for i, place in enumerate(shown)]
    chapters = [part for i, place in enumerate(shown) for part in _chapter(place, claims[i], material, is_alone)]
    if not shown:
        chapters = [*_nowhere(material)]
    hidden = len(material.places) - len(shown)
    noted = notes(material.candidates)
    more = [Part("Other places", (Words(f"And {hidden} more places, which are left out."),))] if hidden else []
    return Report(
        f"Campaign {material.campaign.id}",
        _subtitle(material),
        _headline(said),
        tuple(answer for i, place in enumerate(shown) for answer in _answers(claims[i], place, is_alone)),
        (
            *chapters,
            *more,
            *([Part("What agents noted", tuple(noted))] if noted else []),
            Part("What it took", tuple(costs(material))),
            Part("What is not measured", tuple(unmeasured(material))),
            Part("Circumstances", tuple(circumstances(material))),
        ),
    )


def claims_at(place: Place, material: Material) -> list[Claim]:
    """Answer at each cost ratio of a place."""
    asks = Stage.RETRIEVAL in material.stages
    rules = (ratio for ratio in place.ratios if any(not s.reference for s in place.at[ratio].rows))
    return [claim(place.at[ratio], place, material.known, asks_retrieval=asks) for ratio in rules]


def _headline(said: Sequence[tuple[Place, str, bool]]) -> Answer:
    if not said:
        return Answer(False, "Nothing has been measured yet, so nothing is claimed.")
    if len(said) == 1:
        return Answer(said[0][2], said[0][1])
    told = " ".join(f"{title_case(_device(place))}: {text}" for place, text, _ in said)
    return Answer(any(holds for *_, holds in said), told)


def _answers(claims: Sequence[Claim], place: Place, is_alone: bool) -> list[Answer]:
    before = "" if is_alone else f"{title_case(_device(place))}. "
    return [Answer(each.holds, before + sentence(each), each.shortfalls, each.caveats) for each in claims]


def _device(place: Place) -> str:
    return f"{place.environment.device}, {place.environment.dtype or 'unknown dtype'} [{place.environment.digest[:6]}]"


def _subtitle(material: Material) -> str:
    campaign = material.campaign
    devices = ", ".join(dict.fromkeys(place.environment.device for place in material.places)) or "nowhere yet"
    return f"{campaign.model or 'no model'}, seed {campaign.seed}, {len(material.candidates):,} candidates; {devices}"


def _chapter(place: Place, claims: Sequence[Claim], material: Material, is_alone: bool) -> list[Part]:
    """Give the parts of one place; beside other places they are one chapter."""
    found: list[tuple[str, Sequence[Block]]] = [
        ("Loss by cost ratio", curves(place)),
        ("The front at each cost ratio", fronts(place)),
        ("Where the best came from", lineages(claims, place, material.known)),
        ("What each operator and proposer earned", credit(material, place)),
        ("Dead ends", dead_ends(material, place)),
        ("What was predicted", predictions(place)),
        ("Evaluations", [by_stage(material, place)]),
    ]
    parts = [Part(title, tuple(blocks)) for title, blocks in found if blocks]
    return parts if is_alone else [Part(f"Measured on {_device(place)}", tuple(parts))]


def _nowhere(material: Material) -> list[Part]:
    return [
        Part("What each operator and proposer earned", tuple(credit(material, None))),
        Part("Dead ends", tuple(dead_ends(material, None))),
    ]
