"""The problems of a workload are shared out over kinds and lengths."""

from collections import Counter

from search.evaluator.probe.chains import KINDS, make_problems
from search.evaluator.probe.problems import problems_of
from search.records import Stage, Workload


def asked(num_sequences, lengths=(), num_tokens=512):
    return problems_of(Workload(Stage.PROBE, num_tokens, num_sequences, lengths=lengths), seed=1)


def sizes(problems):
    return Counter((p.kind, p.num_prompt_tokens + p.num_hops) for p in problems)


def test_one_length_is_shared_out_over_the_kinds():
    assert sizes(asked(2 * len(KINDS) + 1)) == {(kind, 512): 3 if kind == KINDS[0] else 2 for kind in KINDS}
    assert [p.kind for p in asked(3)] == list(KINDS[:3]), "as many as were asked for"


def test_every_kind_meets_every_length():
    for lengths in ((256, 512), (256, 384, 512), (256, 288, 320, 384, 512)):
        num = len(KINDS) * len(lengths)
        assert sizes(asked(num, lengths)) == {(kind, length): 1 for kind in KINDS for length in lengths}
        few = Counter(size for _, size in sizes(asked(len(KINDS), lengths)))
        assert len(few) == len(lengths), "one turn of the kinds meets all lengths, where they are no more than kinds"


def test_problems_are_those_of_their_kind_length_and_seed():
    first, second = (p for p in asked(2 * len(KINDS)) if p.kind == "far")
    assert [first, second] == make_problems("far", 2, 512, 1, "search")
    assert asked(8) == asked(8)
