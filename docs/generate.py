"""Write the pages of docs/ that repeat what the code says: `python docs/generate.py`. A test compares them."""

from __future__ import annotations

import json
import lzma
import re
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.records import Measurement

FOLDER = Path(__file__).resolve().parent
MIDWAY = FOLDER.parent / "tests" / "search" / "agents" / "shown" / "midway.sql.xz"
STATISTICS = MIDWAY.with_name("statistics.json")
BAR = "\\|"  # inside a table


def pages() -> dict[str, str]:
    """Give the generated pages by file name."""
    return {
        "campaigns.md": campaigns_page(),
        "commands.md": commands_page(),
        "compiler.md": compiler_page(),
        "language.md": language_page(),
        "prompt.md": prompt_page(),
        "settings.md": settings_page(),
    }


def _template(name: str) -> str:
    return (FOLDER / "templates" / f"{name}.md").read_text()


def commands_page() -> str:
    """Tell every command with its options, from the command line itself."""
    from search.cli import commands
    from search.commands.exits import codes_told

    parts = ["# Commands", "Written by `docs/generate.py` from the command line itself."]
    parts.append(
        f"Data goes to stdout, everything else to stderr. Exit codes: {codes_told()}. `--debug`, anywhere, or "
        "`VORTEX_DEBUG=1` shows the traceback of an error. `--db` takes a path or a URL; without it `VORTEX_DB` names "
        "the database. `vortex --version` tells what is installed, `vortex --install-completion` teaches your shell to "
        "complete commands, options and names."
    )
    for name, command in commands().items():
        parts += [f"## vortex {name}", command.help.strip(), _parameters(command)]
    return "\n\n".join(parts) + "\n"


def _parameters(command: Any) -> str:
    rows = ["| | meaning | default |", "|---|---|---|"]
    rows += [f"| {_named(each)} | {each.help} | {_default(each)} |" for each in command.params if each.name != "help"]
    return "\n".join(rows)


def _named(param: Any) -> str:
    """Name an option with what it takes, or an argument: in brackets if it may be left out, dotted if repeated."""
    if param.param_type_name == "option":
        names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
        return f"{names} `{param.metavar}`" if param.metavar else names
    shown = f"{param.metavar}{'…' * (param.nargs == -1)}"
    return f"`{shown}`" if param.required else f"`[{shown}]`"


def _default(param: Any) -> str:
    shown = getattr(param, "show_default", None)
    given = shown if isinstance(shown, str) else param.default
    return f"`{given}`" if isinstance(given, int | str | Path) and not isinstance(given, bool) and given != "" else ""


def campaigns_page() -> str:
    """Tell every key of a campaign file, from the model that checks it, and what campaigns do."""
    from search.campaigns.comparisons import FIGURES
    from search.campaigns.endpoints import EndpointSetup
    from search.campaigns.setup import Setup

    return _template("campaigns").format(
        example=(FOLDER.parent / "examples" / "laptop.toml").read_text(),
        keys=_keys(Setup),
        endpoints=_keys(EndpointSetup),
        figures=", ".join(f"`{name}`" for name in FIGURES),
        round=_round(),
    )


def _round() -> str:
    """Say how many turns each of the usual proposers has, the most first."""
    from search.config import PROPOSERS

    (first, most), *others = Counter(PROPOSERS).most_common()
    assert all(turns == 1 for _, turns in others), "another sentence is needed"
    return f"Of {len(PROPOSERS)} turns `{first}` has {most}, each other one,"


TYPES = (
    ("dict[str, search", "tables"),
    ("dict", "a table"),
    ("tuple[typing.Annotated[pathlib", "files"),
    ("Path", "a file"),
    ("tuple[float, float]", "two numbers"),
    ("tuple[float", "numbers"),
    ("tuple[str", "texts"),
    ("bool", "true or false"),
    ("int", "a whole number"),
    ("float", "a number"),
    ("str", "a text"),
)  # what an annotation contains, and what it is called; the first that fits


def _keys(model: Any) -> str:
    rows = ["| key | meaning | what it is | if left out |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        annotation = str(
            getattr(field.annotation, "__name__", "") if field.annotation in (str, int) else field.annotation
        )
        kind = next(told for part, told in TYPES if part in annotation)
        usual = "" if field.is_required() or field.default in (None, (), {}, "") else f"`{_toml(field.default)}`"
        rows.append(f"| `{name}` | {field.description} | {kind}{_range(field)} | {usual} |")
    return "\n".join(rows)


def _range(field: Any) -> str:
    """Tell the bounds of a number, the largest that a database keeps left out."""
    bounds = {
        name: getattr(each, name) for each in field.metadata for name in ("ge", "gt", "le") if hasattr(each, name)
    }
    low = next((f" {word} {bounds[name]:,g}" for name, word in (("ge", "from"), ("gt", "above")) if name in bounds), "")
    high = f" to {bounds['le']:,.15g}" if bounds.get("le", 2**62) < 2**62 else ""
    return "" if abs(bounds.get("ge", 0)) >= 2**62 else low + high


def _toml(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)


def compiler_page() -> str:
    """Tell the passes and what the cost model assumes of devices, from their tables."""
    from vortex_dsl.analysis.devices import DEVICES
    from vortex_dsl.passes.pipeline import CANONICAL, FITTED

    rows = ["| pass | what it does |", "|---|---|"]
    rows += [f"| `{each.name}` | {each.doc} |" for each in CANONICAL]
    rows.append("| | *Here the digest is taken. What follows is fitted to the model's shape.* |")
    rows += [f"| `{each.name}` | {each.doc} |" for each in FITTED]
    rows.append("| layout | Where the fields lie in the bytes of a page. |")
    rows.append("| stages | Select is cut where pages are mixed. |")
    rows.append("| plan | The kernels that Triton is given, and what they leave in memory. |")
    rows.append("| tape | What a CPU's compiled loops run; torch where a program keeps more per page than they hold. |")
    peaks = ["| device | memory, TB/s | bfloat16 products, TFLOP/s | float32, TFLOP/s |", "|---|---|---|---|"]
    for each in DEVICES.values():
        figures = (each.bytes_per_s, each.matrix_flops_per_s, each.flops_per_s)
        peaks.append(f"| {each.name} | " + " | ".join(f"{figure / 1e12:g}" for figure in figures) + " |")
    peaks.append("| cpu | measured | measured | measured |")
    return _template("compiler").format(passes="\n".join(rows), devices="\n".join(peaks))


def settings_page() -> str:
    """Tell what vLLM may be told, the variables that count, and the metrics that are exported."""
    from vortex_dsl.serving.config import KERNELS
    from vortex_dsl.serving.metrics import HELP, PREFIX

    metrics = "\n".join(f"| `{PREFIX}{name}_total` | {told}. |" for name, told in HELP.items())
    return _template("settings").format(kernels=", ".join(f"`{each}`" for each in KERNELS), metrics=metrics)


INTRODUCTION = """\
A program says, for one sequence and one KV head, what to remember about each finished page of the KV cache and which
pages a query attends to. It is replayed over batch, heads, layers and paged memory, and never mentions batching,
paging, layouts, kernels or a serving engine. Its text is parsed, typed and compiled; it is never executed as Python.

This is one whole program:

```python
{example}```

`summarize` runs once for each page, when the page's last token is written. What it returns is stored beside the page.
`select` runs at every decode step. It scores the pages from what was stored, and returns a selection. The platform
adds the first and the last pages, and attends.

`vortex check FILE` says whether a text is a program and what a step of it costs, `vortex zoo NAME` prints a published
one to start from."""
AROUND = """\
from vortex_dsl import *


class Around(Program):
    \"\"\"An example of docs/language.md, with all that it may read.\"\"\"

    pages = Int(8, low=1, high=1024, log=True)
    last = State()

    def summarize(self, k, v):
        center = k.mean("token")
        return {{
            "center": center, "hi": k.max("token"), "lo": k.min("token"), "keys": k.to("int8"),
            "radius": (k - center).norm("dim").max("token"), "weight": v.norm("dim").mean("token"),
            "field": {field},
        }}

    def select(self, q, page):
        return {selection}
"""
EXAMPLES = """\
An example over `k` and `v` is a field. The others are scores, which stand in `topk`, or selections. They are read
inside this program:

```text
{program}```"""
FIELD = 'k.mean("token")'
SPLIT = """\
## Splitting an axis

`x.split("token", sub=2)` cuts an axis into groups of neighbours: `sub` *counts the groups*, and `token` is what is left
inside of one. Here 16 tokens become 2 groups of 8, never 8 pairs.

![16 tokens of a page in a row; split with sub=2 they are two rows of eight](pictures/split.svg)

The order in which axes are then reduced decides what is kept. `.mean("token").max("sub")` is the larger of the means
of both halves; `.max("token").mean("sub")` the mean of their largest. The number of groups has to divide the length:
`sub=3` is refused for 16 tokens."""
MORE = """\
## Two more programs

One with a constant, a function of its own and a storage kind:

```python
{constant}```

One that remembers:

```python
{state}```"""
ERRORS = """\
## Errors

Whatever is wrong with a text is told by line and column, what was seen, and what to do. In the program at the top:

"""
MISTAKES = (
    ('sum("dim")', 'sum("dims")'),
    ('bound.max("head")', "bound"),
    ("q * page.hi", "q * page.high"),
    ('k.max("token")', 'k.max("token").to("int4") * 2'),
    ("bound = ", "if page.count > 8:\n            bound = "),
    ("from vortex_dsl import Int", "import os\nfrom vortex_dsl import Int"),
    ("low=1", "low=100"),
)  # in quest: what was meant, and what was written


def language_page() -> str:
    """Explain the language to a newcomer, from the operation table, the agents' prompt and the zoo."""
    from prompts import prompt
    from search.agents.shown import platform_tunables
    from vortex_dsl import zoo

    rules = prompt("language", platform=platform_tunables(), operations=_operations())
    parts = [
        "# The language",
        "Written by `docs/generate.py` from `prompts/language.md`, the operation table and the zoo.",
    ]
    parts += [INTRODUCTION.format(example=zoo.text("quest")), "## Named axes", rules.strip()]
    more = MORE.format(constant=zoo.text("rank_keys"), state=zoo.text("velocity"))
    return "\n\n".join([*parts, SPLIT, more, _mistakes(), _bounds(), _zoo()]) + "\n"


SHORTENED = "(... here stands the language, as docs/language.md has it ...)"


def midway_context(step: int = 100) -> Any:
    """Give what a step of the campaign in `MIDWAY` may know, read from its ledger, which is brought to head."""
    from search.agents.seeds import seed_proposals
    from search.archive.history import History
    from search.config import CampaignConfig
    from search.store.ledger import SqlLedger

    with tempfile.TemporaryDirectory() as folder:
        database = sqlite3.connect(f"{folder}/midway.db")
        database.executescript(lzma.decompress(MIDWAY.read_bytes()).decode())
        database.close()
        ledger = SqlLedger(f"sqlite:///{folder}/midway.db")
        campaign = ledger.campaign()
        records = ledger.records(campaign.id)[:step]
        ledger.close()
    config = CampaignConfig.from_json(campaign.settings)
    history = History(config, len(seed_proposals(config)))
    for record in records:
        history.add(record, [record.candidate.program_digest])
    for number in range(len(history.visible(step))):
        history.finish(number)
    return history.context(step)


def prompt_page() -> str:
    """Tell what a language model is asked half-way through a campaign, with the language left out."""
    from search.agents.shown.language import language
    from search.agents.shown.questions import Brief, instructions, mutate
    from search.agents.shown.section import BUDGET_TOKENS, tokens_of
    from search.parents import breeders

    context = midway_context()
    told = instructions(context)
    parents = (breeders(context, context.ratios[-1])[1],)
    question = mutate(Brief(context, "llm", parents, statistics=recorded_statistics()))
    return _template("prompt").format(
        step=context.step,
        num_records=len(context.records),
        num_pending=len(context.pending),
        num_instructions=tokens_of(told),
        budget=BUDGET_TOKENS,
        num_question=tokens_of(question),
        instructions=told.replace(language(), SHORTENED).strip(),
        question=question.strip(),
    )


def recorded_statistics() -> tuple[Measurement, ...]:
    """Read the statistics of that model's queries and keys, as a recording of it gives them."""
    from search.records import Measurement

    by_layer = json.loads(STATISTICS.read_text()).items()
    return tuple(Measurement(f"{name}_layer_{i}", value) for name, values in by_layer for i, value in enumerate(values))


def _operations() -> str:
    """Tell every operation with an example, in tables by how it is written."""
    from vortex_dsl.ops import OPS

    field, selection = "<an example over k and v>", "topk(<an example that is a score>, self.pages)"
    parts = [EXAMPLES.format(program=AROUND.format(field=field, selection=selection))]
    for kind in dict.fromkeys(op.kind for op in OPS.values()):
        rows = [_operation(op) for op in OPS.values() if op.kind is kind]
        parts.append(f"### {kind.value.capitalize()}s\n\n| | meaning | example |\n|---|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts)


def _operation(op: Any) -> str:
    from vortex_dsl.ops.op import OpKind

    written = op.name if op.kind is OpKind.OPERATOR else op.signature
    meaning = op.doc.replace("|", BAR).replace("<", "&lt;")
    return f"| `{written}` | {meaning} | `{op.example.replace('|', BAR)}` |"


def around(op: Any) -> str:
    """Give the text of a program around an operation's example."""
    from vortex_dsl.ops.op import OpKind

    if re.search(r"(?<![.\w])[kv]\b", op.example):
        return AROUND.format(field=op.example, selection='topk((q * page.field).sum("dim").max("head"), self.pages)')
    chooses = op.kind is OpKind.SELECTION or op.name == "remember"
    return AROUND.format(field=FIELD, selection=op.example if chooses else f"topk({op.example}, self.pages)")


def _mistakes() -> str:
    from vortex_dsl import zoo

    rows = ["| written | instead of | what is said |", "|---|---|---|"]
    for meant, written in MISTAKES:
        said = _refusal(zoo.text("quest").replace(meant, written))
        rows.append(f"| `{written.splitlines()[0]}` | `{meant.strip()}` | {said} |")
    return ERRORS + "\n".join(rows)


def _refusal(text: str) -> str:
    """Load a text with a mistake in it and give what is said of it."""
    from vortex_dsl import ProgramError, Shape, load_program, trace

    try:
        trace(load_program(text), Shape(group=4, head_dim=128))
    except ProgramError as error:
        return f"{error.line}:{error.column}: {error.message}".replace("|", BAR)
    raise AssertionError(f"this was meant to be a mistake: {text}")


def _bounds() -> str:
    from vortex_dsl.frontend.evaluate import MAX_ITERATIONS
    from vortex_dsl.frontend.load import MAX_STATES
    from vortex_dsl.frontend.meter import ELEMENTS_PER_STEP, MAX_STEPS
    from vortex_dsl.frontend.source import MAX_BYTES, MAX_NESTING
    from vortex_dsl.graph.builder import MAX_SELECTIONS
    from vortex_dsl.graph.interner import MAX_OPERATIONS
    from vortex_dsl.ops.op import MAX_ELEMENTS
    from vortex_dsl.values import LARGEST, MAX_AXES

    bounds = (
        (MAX_BYTES, "bytes of text"),
        (MAX_OPERATIONS, "operations, equal ones counted once"),
        (MAX_STATES, "states"),
        (MAX_SELECTIONS, "selections in one, counted as often as they are used"),
        (MAX_AXES, "axes of a value"),
        (MAX_ELEMENTS, "elements of a constant"),
        (MAX_ITERATIONS, "iterations of a loop"),
        (MAX_STEPS, f"steps of evaluation in all, one for every {ELEMENTS_PER_STEP} elements of a list that is used"),
        (MAX_NESTING, "levels of nesting"),
        (LARGEST, "the largest known number"),
    )
    rows = "\n".join(f"* {bound:,}: {what}" for bound, what in bounds)
    return f"## Bounds\n\nThe same text gives the same answer on every machine, and never takes long.\n\n{rows}"


def _zoo() -> str:
    """List the published programs."""
    from search.commands.programs.zoo import entries
    from vortex_dsl import Shape

    rows = ["| program | idea | arXiv | keeps |", "|---|---|---|---|"]
    for each in entries(Shape(group=4, head_dim=128), tokens=32768):
        papers = ", ".join(f"[{paper}](https://arxiv.org/abs/{paper})" for paper in each.papers)
        link = f"[{each.name}](../vortex_dsl/zoo/{each.name}.py)"
        rows.append(f"| {link} | {each.idea.replace('|', BAR)} | {papers} | {each.keeps} |")
    return "## The zoo\n\nPublished rules as programs; `vortex zoo` lists them with what they cost.\n\n" + "\n".join(
        rows
    )


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
