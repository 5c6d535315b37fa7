"""The bounds of what is proposed, each with its reason: the grammar draws within them, and agents are told of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.admission import digests
from search.agents.drawing.draft import PAGE_SIZE, field_bytes_limit
from search.fit import Fitted, Terms, fit, traced
from search.parents import REFERENCE, SEED
from search.records import Status
from vortex_dsl import ProgramError, Shape
from vortex_dsl.analysis.cost import ratio_without_pages
from vortex_dsl.analysis.influence import aimless
from vortex_dsl.analysis.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from search.records import Candidate, Context, Proposal
    from vortex_dsl.analysis.layout import FieldLayout
    from vortex_dsl.graph.graph import Graph

MIN_RATIO = 1.1  # bytes that dense attention reads per byte of a program: less cannot become fast


@dataclass(frozen=True)
class Bound:
    """What a program must keep to.

    rule: says it in a sentence, before anything is proposed; objection: says why a program does not keep to it, nothing
    where it does. It may raise ProgramError.
    """

    rule: Callable[[Context], str]
    objection: Callable[[Proposal, Graph, Context], str]


def rules(context: Context) -> list[str]:
    """Say what will be enforced, a sentence each."""
    return [bound.rule(context) for bound in BOUNDS]


def objections(proposal: Proposal, context: Context) -> Iterator[str]:
    """Say why a proposal is not within the bounds, a sentence each; nothing where it is. The cheapest to tell first."""
    try:
        _, graph = traced(proposal.text, proposal.values, Shape(context.group, context.head_dim))
    except ProgramError as error:
        yield str(error)
        return
    for bound in BOUNDS:
        try:
            objection = bound.objection(proposal, graph, context)
        except ProgramError as error:
            yield str(error)
            return
        if objection:
            yield objection


def is_hopeless(proposal: Proposal, context: Context) -> bool:
    """Say quickly that no budget brings a proposal to the least cost ratio, as of most that is drawn at random.

    What does not load or is beyond other bounds is not hopeless: `objections` says why. Who is passed
    over wrongly, since another budget would compute another thing, costs a draw; nobody's proposal is refused by this.
    """
    terms, ratio = terms_of(context), min(context.ratios, default=0.0)
    try:
        _, graph = traced(proposal.text, proposal.values, terms.shape)
    except ProgramError:
        return False
    return any(ratio_without_pages(graph, length, terms.num_layers) < ratio for length in set(terms.lengths))


def enforced(candidate: Candidate, context: Context) -> Candidate:
    """Refuse an admitted candidate that does not keep to the bounds, and say which; yardsticks and seeds may be beyond.

    Whoever proposes is told of them and may repair; what is beyond them all the same never meets an engine.
    """
    if candidate.status is not Status.OK or candidate.proposal.operator in (SEED, REFERENCE):
        return candidate
    found = list(objections(candidate.proposal, context))
    return replace(candidate, status=Status.PROGRAM_ERROR, message="\n".join(found)) if found else candidate


@dataclass(frozen=True)
class Facts:
    """What is known of a program without running it.

    fields: axes with their lengths, kind of storage and bytes a page of each, in canonical order. fitted: its budget at
    each cost ratio, as written where there are none. A cost ratio is the number of bytes that dense attention reads per
    byte of the program.
    """

    name: str
    digest: str
    bytes_per_page: int
    fields: tuple[tuple[str, str, int], ...]
    fitted: tuple[tuple[float, Fitted], ...]


def facts(proposal: Proposal, context: Context) -> Facts:
    """Give what is known of a proposal without running it. Raises ProgramError."""
    program, graph = traced(proposal.text, proposal.values, Shape(context.group, context.head_dim))
    layout, terms = Layout(graph), terms_of(context)
    fitted = tuple((ratio, fit(proposal.text, proposal.values, terms, ratio)) for ratio in context.ratios or (0.0,))
    return Facts(program.name, graph.digest, layout.bytes_per_page, _fields(layout), fitted)


def terms_of(context: Context) -> Terms:
    """Give on what costs are compared in a campaign."""
    lengths = context.lengths or (context.num_tokens,)
    return Terms(Shape(context.group, context.head_dim), context.num_layers, lengths)


def _fields(layout: Layout) -> tuple[tuple[str, str, int], ...]:
    return tuple((_shape(each), each.kind, each.num_bytes) for each in layout.fields)


def _shape(field: FieldLayout) -> str:
    axes = ", ".join(f"{name} {length}" for name, length in zip(field.field.type.names, field.axes, strict=True))
    return f"[{axes}]" if axes else "one number"


def _aim(_: Context) -> str:
    return "The score depends on what a page holds and on the query."


def _has_no_aim(_proposal: Proposal, graph: Graph, _: Context) -> str:
    return aimless(graph)


def _page_size(_: Context) -> str:
    return f"page_size is {PAGE_SIZE}, that of the engine that hosts all programs."


def _has_other_pages(_proposal: Proposal, graph: Graph, _: Context) -> str:
    if graph.page_size == PAGE_SIZE:
        return ""
    return f"page_size is {graph.page_size}, and the engine that hosts programs has pages of {PAGE_SIZE}; leave it so"


def _room(context: Context) -> str:
    return f"The fields of a page take at most {field_bytes_limit(context.head_dim):,} bytes in all."


def _has_no_room(_proposal: Proposal, graph: Graph, context: Context) -> str:
    layout, most = Layout(graph), field_bytes_limit(context.head_dim)
    if layout.bytes_per_page <= most:
        return ""
    shares = "; ".join(f"{axes} as {kind}: {num_bytes:,}" for axes, kind, num_bytes in _fields(layout))
    return (
        f"the fields of a page take {layout.bytes_per_page:,} bytes ({shares}), and at most {most:,} are reserved; "
        "store fewer numbers, or in fewer bits by .to(kind)"
    )


def _cost(context: Context) -> str:
    if context.ratios:
        return (
            f"With some value of its budget dense attention reads at least {min(context.ratios):g} times the program's "
            "bytes, at every length that is judged."
        )
    return f"Dense attention reads at least {MIN_RATIO:g} times the program's bytes."


def _is_dear(proposal: Proposal, _graph: Graph, context: Context) -> str:
    found = fit(proposal.text, proposal.values, terms_of(context), min(context.ratios, default=0.0))
    if found.refusal or found.cost_ratio >= MIN_RATIO:
        return found.refusal
    return (
        f"dense attention reads only {found.cost_ratio:.3g} times its bytes, and less than {MIN_RATIO:g} times cannot "
        "become fast; store less of a page, or attend to fewer pages"
    )


def _novelty(_: Context) -> str:
    return "It does not mean the same as an earlier program, whatever its names, comments and budget."


def _is_known(proposal: Proposal, _graph: Graph, context: Context) -> str:
    same = [each for each in digests(proposal, terms_of(context), context.ratios) if each in context.seen]
    if not same:
        return ""
    first = next((r.candidate.name for r in context.records if r.candidate.program_digest in same), "")
    named = f"'{first}' of this campaign" if first else "an earlier program of this campaign"
    return f"it means the same as {named}; change what it keeps of a page, or how it scores pages"


# In the order in which they are looked at: fitting a budget takes the longest.
BOUNDS = (
    Bound(_aim, _has_no_aim),
    Bound(_page_size, _has_other_pages),
    Bound(_room, _has_no_room),
    Bound(_cost, _is_dear),
    Bound(_novelty, _is_known),
)
