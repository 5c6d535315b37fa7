"""The newest results as the Markdown of `docs/evaluator.md`."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, Any

from benchmarks.evaluator import results
from benchmarks.evaluator.twice import GOAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    Found = Mapping[str, Any]

NONE = "–"
DENSE_TESTS = (
    "test_forced_decode_says_what_prefill_of_the_same_text_says",
    "test_a_covering_budget_changes_nothing",
)
TESTED_IN = "tests/search/evaluator/fidelity/test_hosted.py"

HEAD = """\
# What the evaluator's figures are worth

Written from the newest files of `benchmarks/results/` by

```sh
python -m benchmarks.evaluator --db sqlite:///results.db   # what a campaign's rows tell; engines stand still
python -m benchmarks.evaluator --seeds 0 1 --ratio 8       # ten rules once more, on texts that share no document
python -m benchmarks.evaluator --markdown > docs/evaluator.md
```

Intervals are of 95 %. Dense attention, the oracles, random choice and whatever saves less than half of the bytes are
references, which nothing here ranks or counts among rules."""

TESTS = f"""\
## What tests hold

In `{TESTED_IN}`:

* log-probabilities of forced decode are those of prefill of the same text within 1e-3 in float32:
  `{DENSE_TESTS[0]}`
* a budget that covers everything gives a KL below 1e-6: `{DENSE_TESTS[1]}`"""

FORETELLS = """\
## Which figure of recall foretells a loss

Rank correlations over published rules at one cost ratio; 1: the figure puts rules into the order of the loss. n: rules
that have both. Intervals by drawing rules anew, which cannot show how sure a perfect order is. What gates is in
`search/stages.py`."""

PRECISION = """\
## How wide intervals are

Half-width of a figure's interval as a share of the figure. KL on the split that proposers see, and of confirmed leaders
on held-out texts; speed-up by processor time on a CPU. n: rules that have an interval."""

PACE = """\
## How long a candidate takes

Seconds of one worker, and how many {workers} workers do in an hour at the median. *evaluation*: one stage at one ratio;
*accuracy*: recall, fidelity and retrieval of one candidate together. As many of the first rows of each stage as there
are workers are left out ("first"): they wait for recording, prefill or an engine."""

FUNNEL = """\
## How far candidates come

Evaluations by stage, cost ratio and how they ended, references too. A candidate stops at the first stage that it does
not pass; what is unfinished is not counted."""

TWICE = """\
## The same rules on other texts

Mean KL of each rule at a cost ratio of {ratio:g} with two evaluation seeds, fitted as in a campaign."""

AGREEMENT = """\
## What recall saves

Largest difference of a rule's figures from those at every recorded step, from those on keys and values in bfloat16
(eight times coarser than what is kept), and from those of the screen, which judges a part; and Spearman's coefficient
between the two."""

MISSING = "*Not measured yet.*"


def page(folder: Path) -> str:
    """Give the whole page; what no file tells is said to be missing."""
    campaign, twice = results.newest(results.CAMPAIGN, folder), results.newest(results.TWICE, folder)
    agreement = results.newest(results.AGREEMENT, folder)
    parts = [HEAD]
    parts += of_campaign(campaign) if campaign else [f"{FORETELLS}\n\n{MISSING}"]
    parts += of_twice(twice) if twice else [f"## The same rules on other texts\n\n{MISSING}"]
    parts += of_agreement(agreement) if agreement else []
    return "\n\n".join([*parts, TESTS]) + "\n"


def of_campaign(found: Found) -> list[str]:
    """Give the sections about a campaign, where it was measured first."""
    lengths = "; ".join(f"{stage} {_numbers(each)}" for stage, each in found["campaign"]["lengths"].items())
    counted = ", ".join(f"{number} {what}" for what, number in found["candidates"].items())
    elsewhere = found["num_elsewhere"]
    when = f"Measured {found['measured_from']} to {found['measured_to']}"
    where = [
        f"{when}: campaign {found['campaign']['id']} with seed {found['campaign']['seed']}, {_where(found)}.",
        f"Tokens: {lengths}. Candidates: {counted}.",
        f"{elsewhere} evaluations of another model, machine or version are left out." if elsewhere else "",
    ]
    return [
        "\n".join(filter(None, where)),
        f"{FORETELLS}\n\n{_correlations(found['correlations'])}",
        f"{PRECISION}\n\n{_precision(found['precision'])}",
        f"{PACE.format(workers=found['workers'])}\n\n{_rates(found['rates'])}",
        f"{FUNNEL}\n\n{_funnel(found['funnel'])}",
    ]


def of_twice(found: Found) -> list[str]:
    """Give the section about two seeds."""
    wanted, texts = found["wanted"], found["texts"]
    seeds = wanted["seeds"]
    rows = [(rule["name"], *map(_interval, rule["kl"] or (None, None)), rule["message"]) for rule in found["rules"]]
    documents = "; ".join(
        f"seed {seed} on {number} texts from {len(each)} documents ({', '.join(each)})"
        for seed, number, each in zip(seeds, texts["num_texts"], texts["documents"], strict=True)
    )
    kendall, spearman = _coefficients(found)
    told = [
        f"Kendall's tau of the two orders: {kendall} (goal: at least {GOAL:g}); Spearman's rho: {spearman}.",
        f"n = {found['num_rules']} rules.",
        f"Texts: {documents}; no document is in both, and {texts['shared_share']:.1%} of windows of 32 tokens are.",
        f"Measured {found['measured_to']}: {_where(found)}; texts of {_numbers(found['lengths'])} tokens.",
    ]
    headings = ("rule", *(f"seed {seed}" for seed in seeds), "")
    return ["\n\n".join([TWICE.format(ratio=wanted["ratio"]), _table(headings, rows), "\n".join(told)])]


def of_agreement(found: Found) -> list[str]:
    """Give the section about what recall saves."""
    rows = [
        (each["against"], each["figure"], f"{each['largest_difference']:.4f}", f"{each['spearman']:.3f}",
         each["num_rules"], each["pages"]) for each in found["agreement"]
    ]  # fmt: skip
    headings = ("against", "figure", "largest difference", "Spearman", "n", "pages")
    return [f"{AGREEMENT}\n\n{_table(headings, rows)}\n\nMeasured {found['measured_to']}: {_device(found)}."]


def _correlations(found: Sequence[Found]) -> str:
    rows = [
        (_ratio(each), each["figure"], f"{each['stage']}: {each['loss']}", *_coefficients(each), each["num_rules"])
        for each in found
    ]
    table = _table(("ratio", "figure", "foretells", "Spearman", "Kendall", "n"), rows)
    return "\n\n".join(filter(None, [table, _best(found)]))


def _best(found: Sequence[Found]) -> str:
    """Say which figure has the largest coefficient for each loss, over all cost ratios at which there is one."""
    taken: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for each in found:
        if each["spearman"]:
            taken[each["stage"]][each["figure"]].append(each["spearman"]["value"])
    told = []
    for stage, figures in taken.items():
        means = {figure: fmean(values) for figure, values in figures.items()}
        best = max(means, key=means.__getitem__)
        told.append(f"{stage} by {best} ({means[best]:.2f})")
    return f"Largest mean of Spearman's coefficient over cost ratios: {', '.join(told)}." if told else ""


def _coefficients(found: Found) -> tuple[str, str]:
    return _interval(found["spearman"], 2), _interval(found["kendall"], 2)


def _precision(found: Iterable[Found]) -> str:
    rows = [
        (
            f"{each['figure']} of {each['what']}",
            _ratio(each),
            _share(each["median"]),
            f"{_share(each['worst'])} {each['worst_name']}".strip(),
            f"{each['num_within']} of {each['num']} within {each['goal']:.0%}",
            each["num"],
            each["num_without"],
        )
        for each in found
    ]
    headings = ("figure", "ratio", "median", "worst", "goal", "n", "without an interval")
    return _table(headings, rows) if rows else MISSING


def _rates(found: Iterable[Found]) -> str:
    rows = [
        (
            each["what"],
            _interval(each["seconds"], 2),
            NONE if each["mean_s"] is None else f"{each['mean_s']:.2f}",
            NONE if each["per_hour"] is None else f"{each['per_hour']:,.0f}",
            f"{each['goal']:,}" if each["goal"] else "",
            each["num"],
            each["num_first"],
        )
        for each in found
    ]
    return _table(("what", "median, s", "mean, s", "an hour", "goal", "n", "first"), rows)


def _funnel(found: Iterable[Found]) -> str:
    rows = [
        (
            each["stage"] if each["split"] == "search" else f"{each['stage']} ({each['split'].replace('_', ' ')})",
            _ratio(each),
            each["num"],
            ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in each["statuses"].items()),
            f"{each['median_s']:.2f}",
            f"{each['total_s']:,.0f}",
        )
        for each in found
    ]
    return _table(("stage", "ratio", "evaluations", "ended", "median, s", "all, s"), rows)


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def _interval(found: Found | None, digits: int = 3) -> str:
    """Write an estimate as it stands in JSON."""
    if found is None:
        return NONE
    value, low, high = found["value"], found["low"], found["high"]
    if low is None or high is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _ratio(found: Found) -> str:
    return f"{found['ratio']:g}" if found["ratio"] else "as written"


def _share(value: float | None) -> str:
    return NONE if value is None else f"{value:.1%}"


def _numbers(lengths: Iterable[int]) -> str:
    return ", ".join(f"{length:,}" for length in sorted(set(lengths)))


def _where(found: Found) -> str:
    model = found["model"] if "model" in found else found["wanted"]["model"]
    return f"model {model} ({found['model_digest'][:8]}), {_device(found)}, evaluator {found['evaluator_version']}"


def _device(found: Found) -> str:
    here = found["environment"]
    commit = f", commit {here['commit'][:8]}" if here["commit"] else ""
    return f"{here['device']}, {here['vllm']}, torch {here['torch']}, Python {here['python']}{commit}"
