"""Requests are recognised by the block of their latest token, and what they remember stays theirs."""

import torch

from vortex_dsl.serving.layers.memory import Memory, Requests

PAGE = 4


def requests(max_requests=4):
    return Requests(num_blocks=32, max_requests=max_requests, page_size=PAGE, device=torch.device("cpu"))


def follow(tracker, *sequences):
    """Each sequence: its length and its blocks."""
    table = torch.zeros((len(sequences), 8), dtype=torch.int32)
    for row, (_, blocks) in zip(table, sequences, strict=True):
        row[: len(blocks)] = torch.tensor(blocks)
    return tracker.follow(table, torch.tensor([length for length, _ in sequences]))


def forget(tracker, length, blocks):
    tracker.forget(torch.tensor([blocks], dtype=torch.int32), torch.tensor([length], dtype=torch.int32))


def test_a_request_keeps_its_slot_over_page_boundaries_and_changes_of_place():
    tracker = requests()
    a, b = (7, [3, 5]), (2, [8])
    first = follow(tracker, a, b)
    assert first.goes_on.tolist() == [False, False]
    assert first.slots.tolist() == [0, 1]
    second = follow(tracker, (3, [8]), (8, [3, 5]))
    assert second.goes_on.tolist() == [True, True]
    assert second.slots.tolist() == [1, 0]
    assert follow(tracker, (9, [3, 5, 11])).goes_on.tolist() == [True]
    third = follow(tracker, (10, [3, 5, 11]), (4, [8]))
    assert third.slots.tolist() == [0, 1]
    assert third.goes_on.all()


def test_another_length_or_another_block_is_another_request():
    tracker = requests()
    follow(tracker, (7, [3, 5]))
    assert not follow(tracker, (9, [3, 5])).goes_on.any()
    follow(tracker, (7, [3, 5]))
    assert not follow(tracker, (8, [3, 6])).goes_on.any()


def test_whatever_follows_a_prefill_starts_afresh_even_in_the_same_block_at_the_same_length():
    tracker = requests()
    follow(tracker, (7, [3, 5]))
    forget(tracker, 7, [3, 5])
    assert not follow(tracker, (8, [3, 5])).goes_on.any()


def test_the_longest_unused_slot_is_given_away_first():
    tracker = requests(max_requests=1)  # two slots
    follow(tracker, (1, [1]))
    follow(tracker, (1, [2]))
    third = follow(tracker, (1, [3]))
    assert third.slots.tolist() == [0]
    assert not follow(tracker, (2, [1])).goes_on.any()


def test_choices_and_states_belong_to_their_slot():
    from vortex_dsl import Shape, load_program, trace

    text = (
        "from vortex_dsl import Program, State, topk\n\n\nclass Counting(Program):\n"
        '    """Count."""\n\n    h = State(init=2.0)\n    n = State(axes=())\n\n'
        "    def select(self, q, page):\n"
        "        return topk(page.h + page.n, 3).remember(h=page.h + 1, n=page.n + 1)\n"
    )
    states = trace(load_program(text), Shape(1, 8)).states
    kinds = [state.paged for state in states]
    memory, tracker = Memory(states, num_kv_heads=2), requests()
    followed = follow(tracker, (5, [1, 2]), (9, [4, 5, 6]))
    both = torch.tensor([0, 1])
    assert memory.renewed(followed, torch.tensor([5, 9])).tolist() == [True, True]
    before = dict(zip(kinds, memory.read(followed, both, 3), strict=True))
    assert before[True].tolist() == [[2.0] * 3] * 4
    assert before[False].tolist() == [0.0] * 4
    chosen = torch.tensor([[0, 1, 0]] * 2 + [[1, 1, 0]] * 2).bool()
    after = tuple(x + torch.arange(4.0).view(-1, *(1,) * (x.dim() - 1)) for x in memory.read(followed, both, 3))
    memory.write(followed.slots, torch.tensor([5, 9]), chosen, after)

    later = follow(tracker, (10, [4, 5, 6]), (6, [1, 2]), (1, [7]))
    assert memory.renewed(later, torch.tensor([9, 5, 0])).tolist() == [False, False, True]
    assert memory.chosen(later.slots[:2], 3).int().tolist() == [[1, 1, 0]] * 2 + [[0, 1, 0]] * 2
    states = dict(zip(kinds, memory.read(later, torch.tensor([0, 1, 2]), 5), strict=True))
    assert states[True][:, 0].tolist() == [4.0, 5.0, 2.0, 3.0, 2.0, 2.0]
    assert states[True][0].tolist() == [4.0] * 3 + [2.0] * 2
    assert states[False].tolist() == [2.0, 3.0, 0.0, 1.0, 0.0, 0.0]


def test_a_stored_choice_stands_where_a_page_was_added_since():
    """Between two choices a sequence may outgrow all the room there is."""
    memory, tracker = Memory((), num_kv_heads=1), requests()
    followed = follow(tracker, (15, [1, 2, 3, 4]))
    assert memory.renewed(followed, torch.tensor([1])).tolist() == [True]
    memory.read(followed, torch.tensor([0]), 4)
    memory.write(followed.slots, torch.tensor([1]), torch.tensor([[True, False, True, False]]), ())
    later = follow(tracker, (16, [1, 2, 3, 4]), (30, [5, 6, 7, 8, 9, 10, 11, 12]))
    assert memory.chosen(later.slots[:1], 5).tolist() == [[True, False, True, False, False]]
