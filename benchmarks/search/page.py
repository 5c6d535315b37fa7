"""The newest results as the Markdown of `docs/search.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.search import results
from benchmarks.search.trials import PLANTED, RECORDED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    Found = Mapping[str, Any]

NONE = "–"
NUM_RULES = 6  # of the published ones, that are shown at each cost ratio
MOST_BELOW = 0.02  # of its height, that the search may stay behind the best baseline on a landscape
GOAL = 0.03  # of the gain over the best published rule

HEAD = """\
# Whether the search is any good

Written from the newest files of `benchmarks/results/` by

```sh
python -m benchmarks.search --record recorded.safetensors       # once: a model's queries, keys and values, in vLLM
python -m benchmarks.search --recordings recorded.safetensors   # searches on one part, told by the other
python -m benchmarks.search --planted --peers peers --landscapes
python -m benchmarks.search --markdown > docs/search.md
```

A search sees some documents and some layers, and draws as many programs as are said, beside the seeds of a campaign.
Its choice is the rule that keeps most attention mass there, with the budget that the cost ratio allows; what the choice
is worth is told by *other documents and other layers*. Intervals are Student's over seeds, of 95 %."""

PUBLISHED = """\
### The published rules

Share of attention mass kept, with the budget fitted to each cost ratio; the best by what a search sees first. *chosen*
is the yardstick that one would take by the same data, *hindsight* the best on the held-out part."""

GAINS = f"""\
### What was chosen

Held-out mass of the choices, and how much more that is than the published rule's: the chosen one's (goal: at least
{GOAL:g}, interval above 0), and hindsight's. *wrong*: seeds for which another of the run's five best would have been
the better choice, and what that cost on average."""

PAIRS = """\
### Methods against each other

How much more of the held-out mass the choice of the row keeps than that of the column, with the same seed; at each cost
ratio."""

LANDSCAPES = f"""\
Whom to change, apart from what is changed: the height of a program is a function of what is written in it, and the top
is where a program of the grammar lies (height 1). Height of the choices, without noise; of two objectives, the share of
losses and bytes that the front dominates. Goal: at most {MOST_BELOW:.0%} below the best baseline."""

MISSING = "*Not measured yet.*"


def page(folder: Path) -> str:
    """Give the whole page; what no file tells is said to be missing."""
    parts = [HEAD]
    for about, title in TITLES.items():
        found = results.newest(about, folder)
        parts += SECTIONS[about](found) if found else [f"## {title}\n\n{MISSING}"]
    return "\n\n".join(parts) + "\n"


def of_selection(found: Found) -> list[str]:
    """Give the sections about searches on recorded or planted selection."""
    problem, asked = found["problem"], found["asked"]
    skipped = "; ".join(f"{each['method']}: {each['reason']}" for each in found["skipped"])
    size = f"{_numbers(problem['lengths'])} tokens, {problem['layers']} layers"
    where = [
        f"Measured {found['measured_to']}: {asked['evaluations']} evaluations, {len(asked['seeds'])} seeds; {size}.",
        f"Seen: {_part(problem['search'])}; held out: {_part(problem['held_out'])}.",
        f"{_device(found)}, evaluator {found['evaluator_version']}.",
    ]
    return [
        f"## {TITLES[problem['name']]}\n\n" + "\n".join(where),
        f"{PUBLISHED}\n\n{_published(found['published'])}",
        f"{GAINS}\n\n{_gains(found['gains'])}",
        f"{PAIRS}\n\n{_pairs(found['pairs'], asked['ratios'])}",
        *([f"Skipped: {skipped}."] if skipped else []),
    ]


def of_landscapes(found: Found) -> list[str]:
    """Give the section about landscapes."""
    asked = found["asked"]
    rows = [
        (
            each["landscape"],
            *(_interval(each["heights"][method]) for method in asked["methods"]),
            each["best_baseline"],
            _interval(each["difference"], signed=True),
            f"{each['shortfall']:.1%}" if each["shortfall"] > 0 else "none",
        )
        for each in found["heights"]
    ]
    table = _table(("landscape", *asked["methods"], "best baseline", "mix less that", "below it"), rows)
    where = (
        f"Measured {found['measured_to']}: {asked['evaluations']} evaluations, {len(asked['seeds'])} seeds, each with "
        f"a best place of its own. {_device(found)}."
    )
    return [f"## {TITLES[results.LANDSCAPES]}\n\n{LANDSCAPES}\n\n{table}\n\n{where}"]


def _part(part: Found) -> str:
    return f"{', '.join(part['documents'])}, layers {_ranges(part['layers'])}"


def _published(found: Sequence[Found]) -> str:
    rows = [
        (f"{each['ratio']:g}", rule["name"], f"{rule['search']:.3f}", f"{rule['held_out']:.3f}", _role(each, rule))
        for each in found
        for i, rule in enumerate(each["rules"])
        if i < NUM_RULES or rule["name"] == each["hindsight"]
    ]
    told = ", ".join(
        f"{len(each['rules'])} of {len(each['rules']) + len(each['unreached'])} at {each['ratio']:g}" for each in found
    )
    return f"{_table(('ratio', 'rule', 'seen', 'held out', ''), rows)}\n\nRules that reach the ratio: {told}."


def _role(published: Found, rule: Found) -> str:
    return ", ".join(role for role in ("chosen", "hindsight") if published[role] == rule["name"])


def _gains(found: Sequence[Found]) -> str:
    rows = [
        (
            f"{each['ratio']:g}",
            each["method"],
            _interval(each["mass"]),
            _interval(each["gain"], signed=True),
            _interval(each["hindsight"], signed=True),
            f"{each['share_better']:.0%}",
            f"{each['share_wrong']:.0%}, {each['regret']:.3f}",
            each["num_seeds"],
        )
        for each in sorted(found, key=lambda each: each["ratio"])
    ]
    return _table(("ratio", "method", "held out", "gain", "over hindsight", "better", "wrong", "seeds"), rows)


def _pairs(found: Sequence[Found], ratios: Sequence[float]) -> str:
    tables = []
    for ratio in ratios:
        here = {(each["method"], each["other"]): each["difference"] for each in found if each["ratio"] == ratio}
        if here:
            methods, others = (list(dict.fromkeys(pair[i] for pair in here)) for i in (0, 1))
            rows = [
                (method, *(_interval(here.get((method, other)), signed=True) for other in others)) for method in methods
            ]
            tables.append(_table((f"at {ratio:g}", *others), rows))
    return "\n\n".join(tables) or MISSING


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def _interval(found: Found | None, *, signed: bool = False) -> str:
    """Write an estimate as it stands in JSON."""
    if found is None:
        return NONE
    form = "+.3f" if signed else ".3f"
    value, low, high = found["value"], found["low"], found["high"]
    if low is None or high is None:
        return f"{value:{form}}"
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def _numbers(numbers: Iterable[int]) -> str:
    return ", ".join(f"{number:,}" for number in sorted(set(numbers)))


def _ranges(numbers: Sequence[int]) -> str:
    """Write numbers as they follow each other: 0-3, 8-11."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _device(found: Found) -> str:
    here = found["environment"]
    commit = f", commit {here['commit'][:8]}" if here["commit"] else ""
    return f"{here['device']}, torch {here['torch']}, Python {here['python']}{commit}"


TITLES = {
    RECORDED: "On recorded queries, keys and values",
    PLANTED: "On planted queries, keys and values",
    results.LANDSCAPES: "On synthetic landscapes",
}
SECTIONS: dict[str, Callable[[Found], list[str]]] = {
    RECORDED: of_selection,
    PLANTED: of_selection,
    results.LANDSCAPES: of_landscapes,
}
