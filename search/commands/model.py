"""`vortex model`: which models are at hand, and what one has; preparing it if that takes work."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from search.commands import options
from search.commands.output import print_data, print_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from search.evaluator.models import ModelFacts
    from search.evaluator.models.weights import Weights

Name = Annotated[
    str | None,
    typer.Argument(metavar="FOLDER_OR_NAME", help="Prepare this model and show what it has; a folder or a name."),
]


@dataclass(frozen=True)
class Listed:
    """A model that has a name of its own. `ready`: it can be served at once; `state`: what there is to know of that."""

    name: str
    ready: bool
    state: str
    folder: str | None


def model(name: Name = None, as_json: options.Json = False) -> None:
    """List the models that are at hand by name, or prepare one and show what it has."""
    if name is None:
        found = listed()
        print_json([asdict(each) for each in found]) if as_json else print_data(_drawn(found))
        return
    from search.campaigns.machines import facts_of
    from search.evaluator.models.weights import read_weights

    facts = facts_of(name)
    weights = read_weights(facts.folder)
    if as_json:
        print_json(asdict(facts) | {"folder": str(facts.folder)} | asdict(weights))
    else:
        print_data(_shown(facts, weights))


def listed() -> list[Listed]:
    """Give the models that have names of their own, the one of the tests first."""
    from search.evaluator.models import ModelError, model_folder, smollm2
    from search.evaluator.probe import PROBE

    probe = Listed(PROBE, True, "comes with vortex-search: two layers that recall chains", str(model_folder(PROBE)))
    try:
        ready, place = smollm2.is_converted(), smollm2.place()
    except ModelError as error:
        return [probe, Listed(smollm2.NAME, False, str(error), None)]
    state = (
        "converted" if ready else f"not converted yet, which `vortex model {smollm2.NAME}` does, and whatever serves it"
    )
    return [probe, Listed(smollm2.NAME, ready, f"SmolLM2-135M-Instruct, {state}", str(place))]


def _drawn(models: list[Listed]) -> RenderableType:
    from rich.table import Table

    caption = "--model also takes any folder with a model as transformers saves it, and any name on the hub"
    drawn = Table("name", caption=caption, caption_justify="left")
    for heading in ("state", "folder"):
        drawn.add_column(heading, overflow="fold")
    for each in models:
        drawn.add_row(each.name, each.state, each.folder or "-")
    return drawn


def _shown(facts: ModelFacts, weights: Weights) -> RenderableType:
    from rich.table import Table

    drawn = Table(show_header=False)
    drawn.add_column(no_wrap=True)
    drawn.add_column(overflow="fold")
    stored = f"{weights.num_values:,} in {weights.dtype}" if weights.dtype else "in *.bin, which are not opened"
    for what, value in (
        ("model", facts.name),
        ("folder", str(facts.folder)),
        ("digest", facts.digest),
        ("architecture", facts.architecture),
        ("layers", f"{facts.num_layers:,}"),
        ("query heads", f"{facts.num_q_heads:,}"),
        ("KV heads", f"{facts.num_kv_heads:,}"),
        ("group", f"{facts.group:,} query heads per KV head"),
        ("head_dim", f"{facts.head_dim:,}"),
        ("takes", f"{facts.max_tokens:,} tokens, prompt and answer"),
        ("vocabulary", f"{facts.vocab_size:,} tokens"),
        ("weights", stored),
        ("size", f"{weights.size_bytes / 1e6:,.0f} MB"),
    ):
        drawn.add_row(what, value)
    return drawn
