"""Conversations with a scripted chat: what is checked, looked at, answered to, and what comes of it."""

import json
from dataclasses import replace

import pytest

from search.agents.llm.conversation import Conversation
from search.agents.llm.endpoint import MAX_ASKED_BYTES, Answer, Call, Usage
from search.agents.llm.operators import Asked
from search.agents.llm.tools import Desk
from search.contracts import ProposerError
from search.records import Evaluation, EvaluationKey, Measurement, Stage, Status
from search.store.conversations import packed
from search.telling.rationale import reasons_in
from tests.search.agents.looking import Scripted
from tests.search.agents.timing import within
from vortex_dsl import zoo

RATIO = 4.0


class Script:
    """Gives its answers in order, and keeps what it was asked and offered."""

    def __init__(self, *answers):
        self._answers, self.asked, self.offered = list(answers), [], []

    def ask(self, messages, tools=(), step=0):
        self.asked.append([dict(message) for message in messages])
        self.offered.append(tools)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        given = answer if isinstance(answer, Answer) else Answer(answer)
        return replace(given, usage=Usage(100, 0, 20), dollars=0.25, elapsed_s=0.5)


def program(name, zoo_name="narrow_centroid", why="Because."):
    lines = zoo.text(zoo_name).splitlines(keepends=True)
    text = "".join(f"class {name}(Program):\n" if line.startswith("class ") else line for line in lines)
    return f"{why}\n\n```python\n{text}```"


BROKEN = "```python\nfrom vortex_dsl import Program\n\n\nclass Broken(Program):\n    pass\n```"


@pytest.fixture
def context(context_at, seeds):
    """Quest is the best published rule that was measured at the ratio."""
    quest = next(r for r in seeds if r.candidate.name == "Quest")
    key = EvaluationKey(quest.candidate.program_digest, Stage.RECALL, "w", "m", "e", "1", 0)
    recalled = Evaluation(key, Status.OK, measurements=(Measurement("mass", 0.8),), ratio=RATIO)
    shown = [replace(r, evaluations=(*r.evaluations, recalled)) if r is quest else r for r in seeds]
    return replace(context_at(30, shown=shown), ratios=(RATIO,), lengths=(8000,))


def converse(context, script, masses=None, turns=4, asked=None):
    looker = None if masses is None else Scripted({"Quest": 0.8} | masses)
    asked = asked or Asked("mutate", "Improve this one.", context.records[6:7])
    conversation = Conversation(script, Desk(context, looker), asked)
    conversation.run(turns)
    return conversation.proposal("llm")


def replies(script):
    """Give what the model was answered at the end of each question."""
    return [messages[-1]["content"] for messages in script.asked[1:]]


def test_a_sound_program_goes_through_where_there_is_no_look(context):
    script = Script(program("Plain"))
    proposal = converse(context, script)
    assert "class Plain" in proposal.text
    assert (proposal.proposer, proposal.operator, proposal.rationale) == ("llm", "mutate", "Because.")
    assert proposal.parents == (context.records[6].candidate.program_digest,)
    assert len(script.asked) == 1


def test_a_program_that_keeps_more_than_what_it_is_compared_with_goes_through(context):
    script = Script(program("Better"))
    assert "class Better" in converse(context, script, {"Better": 0.9}).text
    assert len(script.asked) == 1


def test_a_refused_program_is_repaired_in_the_same_step_with_its_parents_and_all_costs(context):
    script = Script(BROKEN, program("Repaired"))
    proposal = converse(context, script)
    assert "class Repaired" in proposal.text
    assert proposal.operator == "mutate"
    assert proposal.parents == (context.records[6].candidate.program_digest,)
    assert (proposal.prompt_tokens, proposal.completion_tokens) == (200, 40)
    assert (proposal.dollars, proposal.elapsed_s) == (0.5, 1.0)
    (reply,) = replies(script)
    assert "<program>:" in reply
    assert script.asked[1][2] == {"role": "assistant", "content": BROKEN}


@pytest.mark.parametrize(
    "answer",
    [
        "[" * 60_000 + '\n```json\n{"values": {"pages": 3}}\n```',
        '{"values": {"pages\\ud800": 3}}',
        '{"hypotheses": ["signs\\udfff: kl < 1"], "program": "\\ud800 class Half(Program):\\u0000"}',
        'ASK show {"name": "\\ud800"}',
        f"ASK show {'{' * 20}{'}' * 20}",
    ],
    ids=["nested", "value", "program", "asked", "no-object"],
)
def test_json_without_bound_or_with_half_signs_is_answered_and_can_be_sent_and_stored(context, answer):
    script = Script(answer, program("Repaired"))
    proposal = converse(context, script, asked=Asked("mutate", "?", context.records[6:7], zoo.text("quest")))
    sent = [message["content"] for messages in script.asked for message in messages]
    for text in (*sent, proposal.text, proposal.conversation, *map(str, proposal.hypotheses)):
        text.encode()


@pytest.mark.parametrize(
    "answer",
    [
        "<<<<<<< SEARCH\n x\n=======\n y\n" * 2200,
        "<<<<<<< SEARCH\n" * 4300,
        f"ASK zoo{' ' * 65_000}x",
        "```a\n" * 13_000,
        f"```{' ' * 65_000}x",
        "-eyJ" * 16_000,
        "[![](" * 13_000,
        "`" * 65_000,
        ">>\nx\n" * 13_000,
    ],
    ids=["edits", "searches", "blanks", "fences", "fence", "tokens", "links", "ticks", "quotations"],
)
def test_what_a_model_repeats_until_it_is_cut_off_is_read_in_seconds(context, answer):
    """While a pattern is sought nothing else of the process runs: no lease would be kept."""
    with within(20.0):
        proposal = converse(context, Script(answer, program("Repaired")))
        packed(proposal.conversation)
    assert "class Repaired" in proposal.text


def test_every_objection_is_told_at_once(context):
    wide = (
        program("Wide", "sign_keys")
        .replace('k.to("sign")', "k")
        .replace("pages = Int", "page_size = 32\n    pages = Int")
    )
    script = Script(
        wide.replace("page_size = 32", "page_size = Choice(32, (16, 32))").replace("import Int", "import Choice, Int"),
        program("Small"),
    )
    assert "class Small" in converse(context, script).text
    (reply,) = replies(script)
    assert "pages of 16" in reply
    assert "at most 1,024" in reply


def test_what_was_looked_at_may_be_revised_and_the_best_is_proposed(context):
    script = Script(program("First"), program("Second", "centroid"), program("Third", "ball"), "KEEP")
    proposal = converse(context, script, {"First": 0.6, "Second": 0.75, "Third": 0.7})
    assert "class Second" in proposal.text
    first, second, third = replies(script)
    assert "First at a cost ratio of 4" in first
    assert "Quest, keeps 0.800 (-0.200 for yours)" in first
    assert "Second at" in second
    assert "Third at" in third
    assert proposal.dollars == 1.0


def test_an_answer_without_a_program_after_a_look_ends_the_conversation(context):
    script = Script(program("First"), "KEEP")
    assert "class First" in converse(context, script, {"First": 0.6}).text
    assert len(script.asked) == 2


def test_edits_after_a_refusal_are_of_the_programs_own_text(context):
    edit = "<<<<<<< SEARCH\nclass Odd(Program):\n=======\nclass Even(Program):\n>>>>>>> REPLACE"
    script = Script(program("Odd"), edit, "KEEP")
    proposal = converse(context, script, {"Odd": 0.5, "Even": 0.7})
    assert "class Even" in proposal.text


def test_functions_are_answered_by_the_desk_and_their_calls_stand_in_the_messages(context):
    call = Call("c1", "show", {"name": "Quest"})
    script = Script(Answer("", (call, Call("c2", "nothing", {}))), program("Asked"))
    assert "class Asked" in converse(context, script).text
    said, first, second = script.asked[1][2:]
    assert said["tool_calls"][0]["function"] == {"name": "show", "arguments": '{"name": "Quest"}'}
    assert (first["role"], first["tool_call_id"]) == ("tool", "c1")
    assert "class Quest(Program)" in first["content"]
    assert "there is no tool 'nothing'" in second["content"]
    assert [tool["function"]["name"] for tool in script.offered[0]] == [
        *("check", "look", "show", "leaderboard", "zoo", "language")
    ]


def test_in_the_last_turn_no_functions_are_offered(context):
    script = Script(BROKEN, BROKEN)
    converse(context, script, turns=2)
    assert [bool(tools) for tools in script.offered] == [True, False]


def test_where_no_program_is_sound_the_last_one_is_proposed_and_what_was_odd_is_told(context):
    last = BROKEN.replace("Broken", "Last")
    script = Script(BROKEN, Answer(last, fault="the answer was cut off"))
    proposal = converse(context, script, turns=2)
    assert "class Last" in proposal.text
    assert "the answer was cut off" in proposal.rationale
    assert proposal.dollars == 0.5


def test_a_cut_off_answer_is_told_so(context):
    script = Script(Answer("I think that", fault="the answer was cut off at the most tokens"), program("Whole"))
    assert "class Whole" in converse(context, script).text
    assert "cut off at the most tokens" in replies(script)[0]


def test_an_endpoint_that_breaks_off_later_leaves_what_there_is_with_its_cost(context):
    script = Script(program("First"), ProposerError("away", 0.125))
    proposal = converse(context, script, {"First": 0.6})
    assert "class First" in proposal.text
    assert "away" in proposal.rationale
    assert proposal.dollars == 0.375


def test_an_endpoint_that_never_answers_is_an_error(context):
    with pytest.raises(ProposerError, match="away"):
        converse(context, Script(ProposerError("away")))


def test_functions_without_end_are_answered_within_bounds_and_none_in_the_last_turn(context):
    calls = tuple(Call(f"c{i}", "language", {}) for i in range(16))
    script = Script(*[Answer("", calls)] * 4)
    proposal = converse(context, script)
    assert [len(offered) > 0 for offered in script.offered] == [True, True, True, False]
    assert proposal.text == ""
    assert script.asked[-1][-1]["content"] == "at most 8 calls at once"
    assert len(json.dumps(script.asked[-1]).encode()) < MAX_ASKED_BYTES
    assert (proposal.prompt_tokens, proposal.dollars) == (400, 1.0)


def test_functions_alone_come_to_nothing(context):
    calls = [Answer("", (Call("c", "leaderboard", {}),))] * 3
    proposal = converse(context, Script(*calls), turns=3)
    assert proposal.text == ""
    assert proposal.dollars == 0.75


def test_what_the_chosen_answer_predicts_and_all_that_was_noted_goes_with_the_proposal(context):
    notes = "```notes\nstop: larger budgets\n```\n"
    first = notes + program("First", why="```hypotheses\nfewer bytes: bytes_per_page < 100\n```")
    second = program("Second", "centroid", why="```hypotheses\nmore bytes: bytes_per_page > 100\n```")
    proposal = converse(context, Script(first, second, "KEEP"), {"First": 0.6, "Second": 0.7})
    assert "class Second" in proposal.text
    assert [str(each) for each in proposal.hypotheses] == ["more bytes: bytes_per_page > 100"]
    assert [(note.kind, note.text.strip()) for note in proposal.notes] == [("stop", "larger budgets")]


def test_a_repair_keeps_what_the_refused_program_was_to_show_and_another_program_does_not(context):
    said = "```hypotheses\nfewer bytes: bytes_per_page < 100\n```\n"
    assert [each.text for each in converse(context, Script(said + BROKEN, program("A"))).hypotheses] == ["fewer bytes"]
    first = program("First", why=said)
    other = converse(context, Script(first, program("Second", "centroid"), "KEEP"), {"First": 0.6, "Second": 0.7})
    assert "class Second" in other.text
    assert other.hypotheses == ()
    lost = converse(context, Script(said + BROKEN, BROKEN), turns=2)
    assert [each.text for each in lost.hypotheses] == ["fewer bytes"]


def test_the_whole_conversation_is_kept(context):
    proposal = converse(context, Script(BROKEN, program("Repaired")))
    kept = json.loads(proposal.conversation)
    assert [message["role"] for message in kept] == ["system", "user", "assistant", "user", "assistant"]
    assert kept[1]["content"] == "Improve this one."
    assert "class Repaired" in kept[4]["content"]


def test_a_model_that_calls_no_functions_asks_in_lines_of_text(context):
    script = Script('Let me see.\nASK show {"name": "Quest"}\n`ASK zoo {oh}`', program("Asked"))
    assert "class Asked" in converse(context, script).text
    (reply,) = replies(script)
    assert reply.startswith("# show\n\n")
    assert "class Quest(Program)" in reply
    assert "# zoo\n\nzoo: arguments: " in reply


def test_a_program_beside_lines_that_ask_is_the_answer(context):
    script = Script('ASK show {"name": "Quest"}\n\n' + program("Told"))
    assert "class Told" in converse(context, script).text
    assert len(script.asked) == 1


def test_a_look_that_comes_to_nothing_is_told_and_the_program_goes_through(context):
    proposal = converse(context, Script(program("Unknown")), {})
    assert "class Unknown" in proposal.text
    assert "nobody knows Unknown" in proposal.rationale
    assert "nobody knows Unknown" not in reasons_in(proposal.rationale)  # which other agents are told
