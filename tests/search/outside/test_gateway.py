"""What an agent from outside is told, what is taken from it, and what it hears of it."""

import time
from contextlib import closing
from dataclasses import replace
from threading import Event, Thread

import pytest

from search.config import CampaignConfig
from search.contracts import SubmissionError
from search.loop import Loop, start_campaign
from search.outcome import End
from search.outside.fates import State
from search.outside.gateway import BROUGHT, MAX_WAITS, Gateway
from search.outside.tickets import Ticket
from search.outside.tools import MAX_ANSWER, TOOLS, answer
from search.records import Stage
from search.store.ledger import SqlLedger

PATIENCE_S = 20.0
MANY = 10**6


@pytest.fixture
def gateway(ledger, campaign):
    return Gateway(ledger, "claude")


def test_a_brief_is_what_a_called_agent_gets(ledger, running):
    from search.agents.llm.operators import ask
    from search.agents.shown.questions import instructions
    from tests.search.outside.test_following import context_of

    given = Gateway(ledger).brief()
    context = context_of(running, ledger.records(running.id))
    assert given.text == f"{instructions(context).strip()}\n\n{ask(context, 'claude').question.strip()}"
    assert Ticket.parse(given.ticket).num_steps == 2


def test_a_program_as_long_as_programs_may_be_ends_no_brief(ledger, running, text_of):
    """It is more than a prompt holds, and may become the parent of the next step."""
    gateway = Gateway(ledger, "claude")
    long = text_of(1).replace('"""\n', f'\n\n    {"(" * 13_000}\n    """\n', 1)
    assert gateway.wait(gateway.submit(long).submission, PATIENCE_S, MANY).state is State.FINISHED
    assert "# Your task" in gateway.brief().text
    gateway.wait(gateway.submit(text_of(2)).submission, PATIENCE_S, MANY)
    assert "# Your task" in gateway.brief().text


def test_a_program_is_measured_and_its_results_come(ledger, running, text_of):
    gateway = Gateway(ledger, "claude")
    asked = gateway.brief()
    fate = gateway.submit(text_of(1), asked.ticket, "an idea", hypotheses=["it keeps most: recall > 0 at 4"])
    assert fate.state in (State.WAITING, State.UNDER_WAY)
    first = gateway.wait(fate.submission, PATIENCE_S)
    assert first.results
    last = gateway.wait(fate.submission, PATIENCE_S, MANY)
    assert last.state is State.FINISHED
    assert {each.stage for each in last.results} >= {Stage.CHECK, Stage.RECALL, Stage.PROBE}
    record = ledger.candidate(last.candidate)
    proposal, ticket = record.candidate.proposal, Ticket.parse(asked.ticket)
    assert (proposal.proposer, proposal.operator, proposal.parents) == ("claude", ticket.operator, ticket.parents)
    assert [each.prediction for each in proposal.hypotheses] == ["recall > 0 at 4"]
    assert "it keeps most" in gateway.hypotheses()
    assert "it keeps most" in gateway.journal("claude")
    assert "it keeps most" not in gateway.journal("codex")


def test_what_is_held_out_is_told_to_nobody(ledger, db, campaign, fake, text_of):
    gateway = Gateway(ledger, "claude")
    fates = [gateway.submit(text_of(number)) for number in range(3)]
    assert all(each.submission for each in fates)
    with closing(SqlLedger(db)) as own:
        outcome = Loop(own, fake(2, failure_rate=0), (), campaign).run()
    assert outcome.end is End.DONE
    assert outcome.confirmations
    told = [gateway.wait(each.submission, 0.0) for each in fates]
    for each in told:
        whole = ledger.candidate(each.candidate).evaluations
        seen = ledger.records(campaign.id)[each.step].evaluations
        assert len(each.results) == len(seen) <= len(whole)
    assert sum(len(ledger.candidate(e.candidate).evaluations) for e in told) > sum(len(e.results) for e in told)


def test_without_a_ticket_parents_may_be_named(ledger, running, text_of):
    gateway = Gateway(ledger, "claude")
    parent = ledger.records(running.id)[0].candidate
    fate = gateway.submit(text_of(1), parents=[parent.name, str(parent.id), parent.program_digest[:8]])
    proposal = ledger.submission(fate.submission).proposal
    assert (proposal.operator, proposal.parents) == (BROUGHT, (parent.program_digest,))
    with pytest.raises(SubmissionError, match="no candidate 'nobody'"):
        gateway.submit(text_of(2), parents=["nobody"])


def test_what_is_not_within_the_bounds_is_refused_with_reasons_and_not_kept(ledger, gateway, campaign, text_of):
    fate = gateway.submit(text_of(1).replace("topk(", "best("))
    assert (fate.state, fate.submission) == (State.REFUSED, 0)
    assert "best" in fate.reasons[0]
    wide = text_of(1).replace('k.mean("token") + k.max("token") * 1.5', "k")
    assert gateway.submit(wide).state is State.REFUSED
    assert ledger.submissions(campaign.id) == []


def test_a_program_that_means_what_another_did_is_refused(ledger, running, text_of):
    gateway = Gateway(ledger, "claude")
    gateway.wait(gateway.submit(text_of(1)).submission, PATIENCE_S)
    fate = gateway.submit(text_of(1).replace("Outside1", "Other"))
    assert fate.state is State.REFUSED
    assert "means the same as 'Outside1'" in fate.reasons[0]


EDIT = "<<<<<<< SEARCH\ndef {0}\n=======\nsink = Int(3, 0, 16)\ndef {0}\n>>>>>>> REPLACE".format(
    "select(self, q, page):"
)
FENCED = "```python\n{}```\n"
ANSWER = "Means and extremes.\n\n```hypotheses\nit keeps most: recall > 0 at 4\n```\n\n" + FENCED


@pytest.mark.parametrize("form", [FENCED, ANSWER, "# The idea\n\n" + ANSWER])
def test_an_answer_as_the_brief_asks_for_it_is_taken(ledger, gateway, campaign, text_of, form):
    fate = gateway.submit(form.format(text_of(1)), rationale="" if form is ANSWER else "An idea.")
    assert fate.state is State.WAITING
    proposal = ledger.submission(fate.submission).proposal
    assert proposal.text == text_of(1)
    assert proposal.rationale == ("Means and extremes." if form is ANSWER else "An idea.")
    assert [each.text for each in proposal.hypotheses] == ([] if form is FENCED else ["it keeps most"])


@pytest.mark.parametrize(
    ("answer", "has"),
    [
        ('It needs more.\n\n```json\n{"values": {"sink": 2}}\n```', "sink = Int(2, "),
        (EDIT, "    sink = Int(3, 0, 16)"),
    ],
)
def test_edits_and_values_are_of_the_program_that_the_ticket_is_about(ledger, running, answer, has):
    gateway = Gateway(ledger)
    quest = next(each for each in ledger.records(running.id) if each.candidate.name == "Quest")
    ticket = str(Ticket(running.id, 2, "tune", (quest.candidate.program_digest,)))
    fate = gateway.submit(answer, ticket)
    assert fate.submission, fate.reasons
    assert has in ledger.submission(fate.submission).proposal.text


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ('{"values": {"sink": 2}}', "no program whose values"),
        ("ASK leaderboard", "ask by the tools"),
        ("```\nnothing\n```", "holds no program"),
    ],
)
def test_an_answer_without_a_program_is_refused_with_the_reason(gateway, campaign, answer, says):
    fate = gateway.submit(answer)
    assert (fate.submission, fate.state) == (0, State.REFUSED)
    assert says in fate.reasons[0]


def test_a_program_that_holds_what_looks_like_an_answer_is_left_as_it_is(ledger, gateway, campaign, text_of):
    text = text_of(1).replace('"""\n', '\n\nASK zoo\n```python\nclass Other(Program):\n```\n    """\n', 1)
    assert ledger.submission(gateway.submit(text).submission).proposal.text == text


def test_errors_name_the_lines_of_what_was_brought(gateway, campaign, text_of):
    fate = gateway.submit("# A remark.\n\n" + text_of(1).replace("topk(", "topk((", 1))
    assert ":16:" in fate.reasons[0]


@pytest.mark.parametrize(
    ("agent", "says"), [("codex", "takes no programs from 'codex', but from claude"), ("", None), ("claude", None)]
)
def test_only_agents_that_the_campaign_names_are_heard(ledger, campaign, agent, says):
    gateway = Gateway(ledger, agent, campaign.id)
    if says is None:
        assert gateway.brief().ticket
        return
    with pytest.raises(SubmissionError, match=says):
        gateway.brief()


def test_where_there_is_no_campaign_it_is_said_how_to_start_one(ledger):
    with pytest.raises(SubmissionError, match="vortex run --outside claude"):
        Gateway(ledger, "claude").brief()
    with pytest.raises(SubmissionError, match="no campaign 7"):
        Gateway(ledger, "claude", 7).brief()


def test_the_newest_campaign_that_takes_programs_is_meant(ledger, campaign):
    newer = start_campaign(ledger, CampaignConfig.from_json(campaign.settings))
    start_campaign(ledger, replace(CampaignConfig.from_json(campaign.settings), proposers=("random",), outside=()))
    assert Ticket.parse(Gateway(ledger, "claude").brief().ticket).campaign_id == newer.id


def test_a_ticket_of_another_campaign_or_none_at_all_is_refused(gateway, campaign, text_of):
    with pytest.raises(SubmissionError, match=r"ticket is of campaign 9, and this is campaign 1"):
        gateway.submit(text_of(1), str(Ticket(9, 2, "explore")))
    for text in ("", "1", "1.2.explore", "../x", "1.2.Explore.", f"1.2.explore.{'a' * 2000}"):
        with pytest.raises(SubmissionError, match="is no ticket"):
            Ticket.parse(text)
    ticket = Ticket(1, 2, "mutate", ("ab12", "cd34"))
    assert Ticket.parse(str(ticket)) == ticket


@pytest.mark.parametrize("operator", ["seed", "reference", "brought", "failed"])
def test_a_ticket_makes_no_seed_and_no_yardstick(gateway, campaign, text_of, operator):
    """Those keep to no bound at the loop's door."""
    with pytest.raises(SubmissionError, match=f"no brief asks for '{operator}'"):
        gateway.submit(text_of(1), str(Ticket(campaign.id, 2, operator)))


def test_a_campaign_that_is_over_takes_nothing(ledger, running, text_of):
    gateway = Gateway(ledger, "claude")
    for number in range(3):
        fate = gateway.submit(text_of(number))
    assert gateway.wait(fate.submission, PATIENCE_S, MANY).state is State.FINISHED
    with pytest.raises(SubmissionError, match=f"campaign {running.id} is over"):
        gateway.submit(text_of(9))


def test_what_no_step_took_is_refused_once_the_campaign_is_over(ledger, db, campaign, fake, text_of):
    """Whoever waits for it would wait for ever."""
    gateway = Gateway(ledger, "claude")
    fates = [gateway.submit(text_of(number)) for number in range(6)]
    with closing(SqlLedger(db)) as own:
        Loop(own, fake(2, failure_rate=0), (), campaign).run()
    told = [gateway.wait(each.submission, PATIENCE_S, MANY) for each in fates]
    assert [each.state for each in told] == [State.FINISHED] * 3 + [State.REFUSED] * 3
    assert told[-1].submission == fates[-1].submission
    assert told[-1].reasons == (f"campaign {campaign.id} is over: it has its candidates, or has spent what it may",)
    with pytest.raises(SubmissionError, match=f"campaign {campaign.id} is over"):
        gateway.brief()


def test_waiting_ends_in_time_and_when_the_gateway_closes(gateway, text_of):
    fate = gateway.submit(text_of(1))
    assert gateway.wait(fate.submission, 0.3).state is State.WAITING
    started = time.monotonic()
    waiting = Thread(target=gateway.wait, args=(fate.submission, 60.0))
    waiting.start()
    gateway.closing.set()
    waiting.join(5.0)
    assert not waiting.is_alive()
    assert time.monotonic() - started < 5.0
    with pytest.raises(SubmissionError, match="no submission 99"):
        gateway.wait(99, 0.0)


def test_whoever_is_gone_holds_no_place_among_those_that_wait(gateway, text_of):
    fate, gone = gateway.submit(text_of(1)), Event()
    waiting = [Thread(target=gateway.wait, args=(fate.submission, 60.0, 0, gone)) for _ in range(MAX_WAITS)]
    for each in waiting:
        each.start()
    gone.set()
    for each in waiting:
        each.join(5.0)
    assert gateway.wait(fate.submission, 0.3).state is State.WAITING


def test_two_candidates_are_compared_by_their_texts(ledger, running):
    told = answer(Gateway(ledger), "diff", {"name": "Quest", "other": "Centroid"}).text
    assert "-class Quest(Program):" in told
    assert "+class Centroid(Program):" in told


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("chekc", {}, "did you mean 'check'"),
        ("wait", {"submission": "1"}, "valid integer"),
        ("wait", {"submission": 1, "timeout_s": 1e9}, "timeout_s"),
        ("submit", {"program": "x" * 10**6}, "program"),
        ("submit", {"program": "x", "file": "/etc/passwd"}, "file"),
        ("submit", {"program": "x", "parents": ["a"] * 99}, "parents"),
        ("show", {"name": "../../etc/passwd"}, "no candidate"),
        ("zoo", {"name": "../quest"}, "quest"),
    ],
)
def test_whatever_is_asked_is_answered_in_a_sentence(gateway, name, arguments, says):
    told = answer(gateway, name, arguments).text
    assert says in told
    assert len(told) < 1000


def test_every_tool_answers_and_no_answer_is_longer_than_it_may_be(ledger, running, text_of, monkeypatch):
    gateway = Gateway(ledger)
    given = {
        "check": {"program": text_of(1)}, "look": {"program": text_of(1)}, "submit": {"program": text_of(1)},
        "show": {"name": "Quest"}, "diff": {"name": "Quest", "other": "Centroid"},
        "wait": {"submission": 1, "timeout_s": 5},
    }  # fmt: skip
    for tool in TOOLS:
        told = answer(gateway, tool.name, given.get(tool.name, {}))
        assert told.text, tool.name
        assert not told.is_error, (tool.name, told.text)
        assert len(told.text) <= MAX_ANSWER
    monkeypatch.setattr("search.outside.tools.MAX_ANSWER", 100)
    cut = answer(gateway, "language", {}).text
    assert len(cut) < 200
    assert "of which 100 are shown" in cut


def test_what_others_wrote_reaches_no_terminal_with_its_control_characters(ledger, running, text_of):
    acts = "\x1b]0;mine\x07\u202e"
    gateway = Gateway(ledger)
    fate = gateway.submit(text_of(1), rationale=acts, hypotheses=[f"{acts}: recall > 0 at 4"], notes=[f"holds: {acts}"])
    gateway.wait(fate.submission, PATIENCE_S, MANY)
    told = [answer(gateway, name, {}).text for name in ("brief", "leaderboard", "journal", "hypotheses")]
    told += [answer(gateway, "show", {"name": acts}).text, answer(gateway, acts, {}).text, gateway.brief().text]
    assert "mine" in "".join(told)
    assert all(each.isprintable() for text in told for each in text.splitlines())


def test_arguments_that_a_tool_does_not_take_are_an_error(gateway):
    told = answer(gateway, "wait", {"submission": "one"})
    assert told.is_error
    assert told.text.startswith("wait: submission: ")
    assert not answer(gateway, "submit", {"program": "no program"}).is_error  # it was checked, and is refused


def test_no_tool_takes_or_gives_a_path():
    names = {name for tool in TOOLS for name in tool.schema.get("properties", {})}
    assert names.isdisjoint({"path", "file", "folder", "url", "db"})
    for tool in TOOLS:
        assert tool.schema["additionalProperties"] is False
        for each in tool.schema.get("properties", {}).values():
            kinds = [each, *each.get("anyOf", ())]
            assert any({"maxLength", "maximum", "maxItems"} & set(kind) or "minimum" in kind for kind in kinds), each
