"""Write the pages of docs/ that repeat what the code says: `python docs/generate.py`. A test compares them."""

from __future__ import annotations

import json
import lzma
import re
import sqlite3
import tempfile
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
    }


def commands_page() -> str:
    """Tell every command with its options, from the command line itself."""
    from search.cli import commands
    from search.commands.exits import ExitCode

    parts = ["# Commands", "Written by `docs/generate.py` from the command line itself."]
    codes = ", ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in ExitCode)
    parts.append(
        f"Data goes to stdout, everything else to stderr. Exit codes: {codes}. `--debug`, anywhere, or "
        "`VORTEX_DEBUG=1` shows the traceback of an error."
    )
    for name, command in commands().items():
        parts += [f"## vortex {name}", command.help.strip(), _parameters(command)]
    return "\n\n".join(parts) + "\n"


def _parameters(command: Any) -> str:
    rows = ["| | meaning | default |", "|---|---|---|"]
    for param in command.params:
        if param.name != "help":
            names = param.opts if param.param_type_name == "option" else []
            shown = ", ".join(f"`{name}`" for name in names) + (f" `{param.metavar}`" if param.metavar else "")
            rows.append(f"| {shown.strip()} | {param.help} | {_default(param)} |")
    return "\n".join(rows)


def _default(param: Any) -> str:
    shown = getattr(param, "show_default", None)
    given = shown if isinstance(shown, str) else param.default
    return f"`{given}`" if isinstance(given, int | str) and not isinstance(given, bool) and given != "" else ""


CAMPAIGNS = """\
# Campaigns

Written by `docs/generate.py` from the keys that `search/campaigns/setup.py` knows.

A campaign file says what is searched, by whom, for how long and on what:

```toml
{example}```

`vortex run FILE` runs it, `vortex run FILE --dry-run` tells its plan, how long it would take, what it would cost and
how much disk it needs, and starts nothing. Options stand above the file, the file above what is usual. Whatever is
unknown, of another type or out of range is refused with its place. `examples/` has one for a laptop, for one GPU and
for a cluster.

## Keys

`text` and `seed_programs` are read from where the file lies; a model's folder and a database's URL from where the
command is run.

{keys}

A table `[endpoints.NAME]` describes a language model, which proposes under that name:

{endpoints}

## When a campaign ends

It ends once it has its `candidates`, or before that for one of these reasons. All but dollars are decided from the
records that a step may see, which are the same whoever measures: an interrupted campaign that is resumed ends at the
same step as one that was not. What is under way is finished, and the leaders are confirmed.

* `max_seconds`: what evaluations took, as recorded, comes to so many seconds for each of the `workers` that the
  campaign was started with. It is the clock's time while all workers are busy; starting engines and waiting for an
  answer are not counted, measurements that another campaign left in the database are.
* `max_gpu_seconds`: the same for all workers together, each of which holds one GPU.
* `max_dollars`: what is left of it does not cover the most that another question can cost. Before a model is asked, as
  much is reserved as its `max_tokens` and the question's length can come to; afterwards what the provider counted is
  paid, tokens from its cache and reasoning included. An answer that never came whole counts as dear as it can have
  been. Every endpoint needs a price then, `[0, 0]` where it costs nothing.
* `stop_at`: a rule, published or found, reaches the target: one or more comparisons joined by `and`, at one cost ratio
  or, where none is named, at any. They are of figures on the split that proposers see; confirmation afterwards says
  what those are worth on texts that were held out. There are {figures}.
* `patience`: so many invented candidates in a row lost no less, at any cost ratio, than the best before them.

## Resume and replay

`vortex resume ID` goes on with what the database keeps, models and prices included; `--file FILE` says anew on which
machines, and at which address and by which key models are asked. Keys are in no database: each is read from its
variable when it is sent, and taken out of whatever a server echoes. `vortex replay ID` decides a campaign once more
from its record, without an engine: measurements and answers of language models are taken from the record, every other
proposer is asked again, every check is computed again, and texts, values, digests, refusals, gates and leaders are
compared. The first difference is told with its step, and the exit code is 1.

## From Python

```python
{python}```

`Campaign(...)` takes the keys above; `Campaign("FILE", ...)` reads a file that they override. Each step of the
iteration gives a record whose candidate has no stage left. Leaving the iteration lets finish what runs; another one, or
`Campaign.resume(ID, db=...)`, goes on. `run()` searches to the end and gives its outcome.
"""
PYTHON = """\
from search import Campaign

with Campaign(model="probe", ratios=(8,), candidates=2, db="sqlite:///notebook.db") as campaign:
    for record in campaign:
        print(record.candidate.step, record.candidate.name, record.status)
    best = campaign.leaderboard()[0]
print(best.name, best.accuracy)
"""


def campaigns_page() -> str:
    """Tell every key of a campaign file, from the model that checks it, and what campaigns do."""
    from search.campaigns.comparisons import FIGURES
    from search.campaigns.endpoints import EndpointSetup
    from search.campaigns.setup import Setup

    return CAMPAIGNS.format(
        example=(FOLDER.parent / "examples" / "laptop.toml").read_text(),
        keys=_keys(Setup),
        endpoints=_keys(EndpointSetup),
        figures=", ".join(f"`{name}`" for name in FIGURES),
        python=PYTHON,
    )


TYPES = (
    ("dict[str, search", "tables"),
    ("dict", "a table"),
    ("tuple[pathlib.Path", "files"),
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


COMPILER = """\
# Compiler

Written by `docs/generate.py` from `vortex_dsl/passes/pipeline.py` and `vortex_dsl/analysis/devices.py`.

A program's text is traced to a graph of operations, equal ones merged; then the passes below run, top to bottom, each
giving a graph that chooses the same pages, and the verifier looks at what each one gives. `vortex check --passes FILE`
prints the program after each.

{passes}

**Hoisting.** Every value that depends on a page alone can be read, as a field, or computed in each step from other
fields. What the query needs of such values is a cut of the graph, and a smallest cut, by the bytes that are read, says
which ones to keep. So a field of `dim` numbers may become one number, and a field that nothing else reads goes away.
The new fields are float32, and computed from fields as they are stored, rounding included: the same pages are chosen.
A program's digest does not see this, because what is cheaper depends on the model's shape.

**Cost.** `vortex check` tells bytes and floating-point operations per decode step of one sparse layer, per sequence and
KV head, stage by stage: computing a page's fields once in `page_size` steps; scoring, cut where pages are mixed, with
what one stage leaves for another; choosing; writing states; attending. Choosing is spread over the layers and steps
that use the choice (`share_layers`, `refresh_steps`). A budget that depends on what is in the cache counts in full.
`--device` adds the least time of each stage: its bytes by the memory's bandwidth, or its arithmetic by the peak for it,
whichever is longer. Launches are not counted.

{devices}
"""


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
    return COMPILER.format(passes="\n".join(rows), devices="\n".join(peaks))


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
    return "\n\n".join([*parts, more, _mistakes(), _bounds(), _zoo()]) + "\n"


PROMPT = """\
# What a language model is asked

Written by `docs/generate.py` from a ledger: a campaign on a real model, SmolLM2-135M, as it stood at step {step}, when
{num_records} of its candidates were measured and {num_pending} under way. Whatever stands in the question comes from
records that this step may see (`search/agents/shown/`); figures are of that campaign, on the CPU that it ran on. What
is told of queries and keys "as recorded" comes from a recording of the same model, by what looks at programs.

The instructions are the same at every step of a campaign, about {num_instructions:,} tokens; a question is written
anew at each, and has room for what is left of {budget:,}: sections by priority, and what has no room is named at the
end. Tokens are estimated from above (`search/agents/shown/section.py`). This question asks to change a program
(`mutate`); `explore`, `cross`, `tune`, `simplify` and `reflect` have the same sections and other tasks. `vortex show
ID --prompt` prints what was asked about any candidate of a database.

## The instructions

````text
{instructions}
````

## The question, about {num_question:,} tokens

````text
{question}
````
"""
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
    return PROMPT.format(
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
