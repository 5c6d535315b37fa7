"""Sixteen ways to look better than one is, each of them caught; and the published rules, none of which is.

Programs are caught by what can be told of them without an engine; what serves them by the oracle, as in an engine; and
what times them by the stage.
"""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from search.admission import check
from search.behaviour.lengths import objection
from search.config import CampaignConfig
from search.dispatch import TIMED_SHARE
from search.evaluator.speed import stage as speed
from search.records import EvaluationKey, EvaluationTask, Stage, Status
from search.workloads import lengths_of, workloads_for
from tests.search.evaluator.speed.test_stage import Arms, reply, task
from vortex_dsl import Shape, load_program, trace, zoo

PAGE = Path(__file__).resolve().parents[4] / "docs" / "measurements.md"
TOKENS, LAYERS, RATIO = 4000, 30, 8.0
JUDGED = 1009  # a length that judges use, one token more than whole pages
PROBE = CampaignConfig(ratios=())  # judged as written at 2,000 tokens, and timed at 8,000
REAL = CampaignConfig(
    ratios=(RATIO,), workloads=workloads_for(0, TOKENS), group=3, head_dim=64, num_layers=LAYERS, num_kv_heads=3
)
CHEAP = replace(REAL, ratios=(4.0,))
TASK = replace(REAL, workloads=workloads_for(0, TOKENS, task="some"))
FINER = 'dot(q, page.k, "dim").max("head", "token")'
LONG_TOKENS = 32_000
LONG = replace(REAL, workloads=workloads_for(0, LONG_TOKENS))
PROGRAM = '''
from vortex_dsl import {names}


class Cheat(Program):
    """Rank pages by their mean key, within a budget that cheats."""

    {settings}

    def summarize(self, k, v):
        return {{"center": k.mean("token")}}

    def select(self, q, page):
        score = dot(q.mean("head"), page.center, "dim")
        return {choice}
'''


def written(choice, *names, settings="sink = Int(1, 0, 16)"):
    every = sorted({"Program", "Int", "dot", "topk", *names})
    return PROGRAM.format(names=", ".join(every), settings=settings, choice=choice)


def knowing(lengths, number, elsewhere):
    """Let a budget know how many pages texts of these lengths have, and be another one elsewhere."""
    for length in lengths:
        elsewhere = f"where(abs(page.count - {-(-length // 16)}) < 0.5, {number}, {elsewhere})"
    return elsewhere


def known_lengths(number=1, elsewhere="9999"):
    """Let a budget know how many pages the judged texts have, read a page there and all others elsewhere."""
    return knowing(lengths_of(0, TOKENS), number, elsewhere)


def every_third_length():
    """Let a budget know which lengths lie evenly between the judged ones, and read all pages at the others."""
    judged = (*lengths_of(0, LONG_TOKENS), LONG_TOKENS // 2)
    return knowing(judged, 5, f"where((page.count - {LONG_TOKENS // 64}) % 3 < 0.5, 5, 9999)")


PROGRAMS = {
    "dense at the judged length, four pages at the timed one": (
        PROBE, written("topk(score, where(page.count < 200, 200, 1))", "where"), "at a shorter length"
    ),
    "a budget that covers every judged length": (
        PROBE, written("topk(score, self.pages)", settings="pages = Int(200, 1, 1024)"), "covers every page"
    ),
    "13 pages of 128": (
        PROBE,
        written(
            "topk(score, self.pages)", "Choice",
            settings="pages = Int(13, 1, 64); page_size = Choice(128, (16, 32, 64, 128))",
        ),
        "covers every page",
    ),
    "a refresh every 16 steps after a dense choice": (
        REAL,
        written(
            'topk(score, where(page.steps.max("page") < 1, 9999, 1)).remember(steps=page.steps + 1)', "State", "where",
            settings='steps = State(axes=("page",), init=0.0); refresh_steps = Int(16, 1, 16)',
        ),
        "dense attention reads",
    ),
    "a program that recognises the judged lengths": (
        REAL, written(f"topk(score, {known_lengths()})", "abs", "where"), "tokens"
    ),
    "all raw keys read to choose few pages": (
        REAL, written('topk(dot(q, page.k, "dim").max("head", "token"), 1)'), "dense attention reads"
    ),
}  # fmt: skip

# The like of them, found since: what a budget is where costs are compared, and not where pages are read.
FURTHER = {
    "a budget that is small on the first KV head alone": (
        REAL, written("topk(score, where(kv_head.index < 1, 1, 9999))", "kv_head", "where"), "dense attention reads"
    ),
    "a budget that is small in numbers more exact than those that serve": (
        REAL, written("topk(score, where(page.count + 0.00000001 == page.count, 9999, 1))", "where"),
        "dense attention reads",
    ),
    "raw keys of all pages looked at wherever costs are not compared": (
        REAL, written(f"refine(topk(score, {known_lengths(5)}), {FINER}, 5)", "abs", "refine", "where"),
        "dense attention reads 1.7",
    ),
    "as many pages chosen of fewer that are looked at where it is timed": (
        REAL, written(f"refine(topk(score, where((page.count + 2) % 8 < 2.5, 3, 9)), {FINER}, 3)", "refine", "where"),
        "it reads 3 pages, and 9 at a shorter length",
    ),
    "as many pages chosen of fewer that pass a threshold in the first steps": (
        REAL, written(
            f'refine(above(score, where(page.steps.max("page") < 8, 1e9, -1e9), limit=9), {FINER}, 3)'
            ".remember(steps=page.steps + 1)", "State", "above", "refine", "where",
            settings='steps = State(axes=("page",), init=0.0)',
        ),
        "9 are charged, and nothing counts them",
    ),
    "as many pages chosen of more that are looked at on one KV head": (
        REAL, written(
            f"refine(topk(score, where(abs(kv_head.index - 9) < 0.5, 9999, 5)), {FINER}, 5)",
            "abs", "kv_head", "refine", "where",
        ),
        "5 are charged, and nothing counts them",
    ),
    "as many pages chosen of two selections that are one where it is timed": (
        REAL, written(
            f"refine(union(topk(score, 4), topk(where((page.count + 2) % 8 < 2.5, 1, -1) * score, 4)), {FINER}, 3)",
            "refine", "union", "where",
        ),
        "8 are charged, and nothing counts them",
    ),
    "a budget that knows which lengths are looked at here": (
        LONG, written(f"topk(score, {every_third_length()})", "abs", "where"), "dense attention reads"
    ),
    "a budget that is another one where questions are asked": (
        CHEAP, written(
            f"topk(score, {knowing((1000, 2000), 'self.pages', '9999')} if self.pages < 10 else self.pages)",
            "abs", "where", settings="pages = Int(3, 2, 28)",
        ),
        "at a shorter length",
    ),
    "a budget that covers the short texts of a task": (
        TASK, written("topk(score, where(page.count < 60, 9999, 8))", "where"), "at a shorter length"
    ),
}  # fmt: skip


def checked(config, text):
    """Give the check's verdict on a program at the campaign's cost ratio, or as written."""
    ratio = config.ratios[0] if config.ratios else 0.0
    workload = config.workload(Stage.CHECK, ratio)
    key = EvaluationKey("p", Stage.CHECK, workload.digest, "m", "e", "1", 0)
    return check(EvaluationTask(key, text.replace("; ", "\n    "), (), workload), config)


@pytest.mark.parametrize("cheat", [*PROGRAMS, *FURTHER])
def test_a_program_that_cheats_is_refused_before_any_engine(cheat):
    config, text, words = (PROGRAMS | FURTHER)[cheat]
    found = checked(config, text)
    assert found.status is Status.BELOW_GATE
    assert words in found.message


def test_without_the_cheat_the_same_rule_passes():
    honest = written("topk(score, self.pages)", settings="pages = Int(24, 1, 1024)")
    assert checked(PROBE, honest).status is Status.OK
    assert checked(REAL, honest).status is Status.OK
    assert checked(PROBE, written("topk(score, 0.1 * page.count)")).status is Status.OK
    two_stages = f"refine(topk(score, 2 * self.pages), {FINER}, self.pages)"
    assert checked(REAL, written(two_stages, "refine", settings="pages = Int(24, 1, 1024)")).status is Status.OK
    by_mass = "refine(topp(score, .9, limit=9), score, 3)"  # what it refines by is known of every page
    assert checked(REAL, written(by_mass, "refine", "topp")).status is Status.OK


@pytest.mark.parametrize("name", zoo.names())
def test_no_published_rule_is_taken_for_a_cheat(name):
    for config, num_tokens in itertools.product((PROBE, REAL), (TOKENS, 32_000)):
        workloads = config.workloads if config is PROBE else workloads_for(1, num_tokens)
        graph = trace(load_program(zoo.text(name)), Shape(config.group, config.head_dim))
        assert objection(graph, workloads, config.num_layers, 0.0) == ""


# What serves


def counts_fewer(patch):
    """Count half of the pages that are read."""
    from vortex_dsl.serving.layers.layer import ProgramLayer

    honest = ProgramLayer._sparse

    def fewer(self, decodes, num_pages, *, covered):
        return honest(self, decodes, num_pages // 2, covered=covered)

    patch.setattr(ProgramLayer, "_sparse", fewer)


def _afterwards(patch, change):
    """Let something happen to what each decode has put out, while pages are listed and counted as they should be."""
    from vortex_dsl.serving.layers.layer import ProgramLayer

    honest = ProgramLayer.decode

    def decode(self, name, query, decodes, output):
        honest(self, name, query, decodes, output)
        change(self, query, decodes, output)

    patch.setattr(ProgramLayer, "decode", decode)


def returns_dense(patch):
    _afterwards(
        patch,
        lambda layer, query, decodes, output: layer.pages.attend_sequences(query, decodes.rows, layer.softmax, output),
    )


def recognises_lengths(patch):
    """Compute nothing where the one sequence is as long as a judged text with some tokens decoded."""

    def idle(_layer, _query, decodes, output):
        if ((decodes.lengths > JUDGED) & (decodes.lengths < JUDGED + 16)).all():
            output.zero_()

    _afterwards(patch, idle)


def caches_by_pointer(patch):
    """Give again what was put out when a query lay at the same address."""

    def remembered(layer, query, _decodes, output):
        known = vars(layer).setdefault("remembered", {})
        before = known.setdefault((query.data_ptr(), tuple(query.shape)), output.clone())
        output.copy_(before)

    _afterwards(patch, remembered)


def attends_to_leftovers(patch):
    """Attend to whole pages, whatever an earlier request left at the end of the last one."""
    from vortex_dsl.serving.pages.cpu import CpuPages

    attend = CpuPages.attend_pages

    def whole(self, query, rows, softmax, output):
        size = self.page_size
        attend(self, query, replace(rows, lengths=-(-rows.lengths // size) * size), softmax, output)

    patch.setattr(CpuPages, "attend_pages", whole)


BACKENDS = {
    "a backend that counts fewer pages than it reads": (counts_fewer, "pages are counted, and the kernel is told"),
    "one that returns dense attention": (returns_dense, "output is"),
    "one that recognises the benchmark's lengths": (recognises_lengths, f"length {JUDGED + 1}"),
    "one that caches by pointer": (caches_by_pointer, "output is"),
    "one that attends to what another request left": (attends_to_leftovers, "output is"),
}


@pytest.mark.vllm
@pytest.mark.parametrize("cheat", BACKENDS)
def test_a_backend_that_cheats_is_a_wrong_result(monkeypatch, status_of, cheat):
    plant, words = BACKENDS[cheat]
    plant(monkeypatch)
    status, message = status_of("quest", lengths=(JUDGED,))
    assert status == "wrong_result"
    assert words in message


@pytest.mark.vllm
def test_without_a_cheat_what_serves_passes_at_the_judged_lengths_too(status_of, monkeypatch):
    assert status_of("quest", lengths=(JUDGED,))[0] == "ok"
    recognises_lengths(monkeypatch)
    assert status_of("quest")[0] == "ok"  # so that it is the length that tells


# What times


def test_a_round_that_is_faster_than_its_bytes_allow_is_a_wrong_result():
    def timed(floor_ms):
        return speed.run(Arms(lambda _: reply(1.0) | {"floor_ms": floor_ms}, lambda _: reply(3.0)), task())

    honest, cheat = timed(0.9), timed(1.1)  # steps take 1 and 2 ms
    assert honest.status is Status.OK
    assert cheat.status is Status.WRONG_RESULT
    assert "takes 1.1 ms at least" in cheat.message


# No check can tell these, whose limits are honest: what they read is seen when they run.
OTHERWISE = {
    "a threshold that knows the prompts that are timed": written(
        "above(score, where((page.count + 2) % 8 < 2.5, 1e9, -1e9), limit=self.pages)", "above", "where",
        settings="pages = Int(24, 1, 1024)",
    ),
    "one that is low after the few steps that are timed": written(
        'above(score, where(page.steps.max("page") < 8, 1e9, -1e9), limit=self.pages)'
        ".remember(steps=page.steps + 1)", "above", "where", "State",
        settings='pages = Int(24, 1, 1024); steps = State(axes=("page",), init=0.0)',
    ),
}  # fmt: skip


@pytest.mark.parametrize("cheat", OTHERWISE)
def test_a_program_that_reads_less_where_it_is_timed_than_where_it_is_judged_is_a_wrong_result(cheat):
    text = OTHERWISE[cheat]
    assert checked(REAL, text).status is Status.OK
    as_judged = replace(task(), text=text, least_read=TIMED_SHARE * 27 / 250)
    read = {pages: speed.run(Arms(lambda _, n=pages: reply(1.0, pages=n), lambda _: reply(3.0)), as_judged)
            for pages in (27 * 32 / 250, 15 * 32 / 250)}  # fmt: skip
    assert [outcome.status for outcome in read.values()] == [Status.OK, Status.WRONG_RESULT]
    assert "it chooses otherwise there" in [*read.values()][1].message


def test_there_are_as_many_as_the_page_says():
    times_faster_than_its_bytes = 1
    number = sum(map(len, (PROGRAMS, FURTHER, BACKENDS, OTHERWISE))) + times_faster_than_its_bytes
    assert f"has {number} ways to cheat" in PAGE.read_text()
