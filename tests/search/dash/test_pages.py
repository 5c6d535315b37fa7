"""What pages say is what the database holds."""

import html
import re

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from search.dash.app import build
from search.dash.queries import rows
from search.ranking.front import sections
from search.records import Choice
from search.report.merit import figure
from search.store.database import connect
from search.store.derived import tally

HERE = "http://127.0.0.1:8787"
PAGES = ("/", "/live", "/campaigns/1", "/campaigns/1/live", "/campaigns/1/time", "/fronts", "/budgets", "/leaderboard",
         "/journal", "/journal?kind=notes", "/earnings", "/money", "/rules/1/remarks")  # fmt: skip
SECTION = "campaign_id = ? and ratio = ?"


def ids(text):
    """The rules of a leaderboard, in order."""
    return [int(each) for each in re.findall(r'name="id" value="(\d+)"', text)]


def slug(site, campaign, ratio):
    """The section of a campaign at a cost ratio, as the campaign's page links it."""
    text = site.get(f"/campaigns/{campaign}").text
    return dict(re.findall(r'<th scope="row">(\w+)</th>.*?at=(\w+)', text, re.DOTALL))[f"{ratio:g}x"]


def board(site, campaign, ratio, **asked):
    found = site.get("/leaderboard", params={"campaign": campaign, "at": slug(site, campaign, ratio), **asked})
    assert found.status_code == 200
    return found.text


def total(text):
    return int(re.search(r'id="rows">([\d,]+) rule', text).group(1).replace(",", ""))


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_there(site, page):
    answer = site.get(page)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_what_is_not_there_is_told_in_a_sentence(site):
    for page, code in (("/campaigns/99", 404), ("/nowhere", 404), ("/campaigns/x", 422), ("/rules/999999/remarks", 404),
                       ("/leaderboard?page=x", 422), (f"/leaderboard?campaign={'9' * 30}", 422)):  # fmt: skip
        answer = site.get(page)
        assert (page, answer.status_code) == (page, code)
        assert "<h1>" in answer.text


def test_progress_is_counted(site, ask):
    text = site.get("/live").text
    for campaign, asked in ask("select id, num_candidates from campaign"):
        given = "operator in ('seed', 'reference')"
        (number, seeds) = ask(f"select sum(not {given}), sum({given}) from candidate where campaign_id = ?", campaign)[
            0
        ]
        assert f"{number:,} of {asked:,} candidates beside {seeds:,} that were given; 0 evaluations under way" in text


@pytest.mark.parametrize("page", ["/live", "/campaigns/2/live", "/answer"])
def test_what_has_not_moved_is_not_sent_again(site, page):
    asked = {"hx-request": "true"}
    again = html.unescape(re.search(r'hx-get="([^"]+)"', site.get(page, headers=asked).text).group(1))
    assert again.startswith(page)
    assert site.get(again, headers=asked).status_code == 204
    assert site.get(f"{page}?seen=other", headers=asked).status_code == 200


def test_two_rules_are_compared(site):
    answer = site.get("/compare?id=3&id=5", follow_redirects=False)
    assert answer.headers["location"] == "/compare/3/5"
    for asked, code in (("", 422), ("?id=3", 422), ("?id=1&id=2&id=3", 422), ("?id=x&id=2", 404), ("?id=&id=2", 422)):
        assert (asked, site.get(f"/compare{asked}").status_code) == (asked, code)


@pytest.mark.parametrize("campaign", [1, 2, 3])
@pytest.mark.parametrize("ratio", [4, 8])
def test_the_leaderboard_lists_a_section_best_first(site, ask, campaign, ratio):
    text = board(site, campaign, ratio)
    assert total(text) == ask(f"select count(*) from standing where {SECTION}", campaign, ratio)[0][0]
    judged = ask(f"select candidate_id from standing where {SECTION} and kl is not null order by kl", campaign, ratio)
    assert ids(text)[: len(judged)] == [each for (each,) in judged][:50]


def turned(site, text, way):
    """Follow a link of the pages."""
    found = re.search(rf'rel="{way}" href="([^"]+)"', text)
    return site.get(f"/leaderboard{html.unescape(found[1])}").text if found else None


@pytest.mark.parametrize(
    "asked",
    [
        *({"sort": sort} for sort in ("", "recall", "kl", "-kl", "bytes_per_page", "name")),
        {"origin": "found"},
        {"sort": "dollars", "task": "recall"},
    ],
)
@pytest.mark.parametrize("most_sorted", [0, 2000])
def test_pages_of_the_leaderboard_follow_each_other_both_ways(site, ask, asked, most_sorted, monkeypatch):
    monkeypatch.setattr("search.store.shown.sections.MOST_SORTED", most_sorted)  # as in large ones, and in small ones
    forward, text = [], board(site, 1, 8, **asked)
    assert 'rel="prev"' not in text
    while text:
        forward.append(ids(text))
        text, last = turned(site, text, "next"), text
    own = "and c.proposer != 'zoo'" if asked.get("origin") else ""
    known = ask(f"select c.id from standing s join candidate c on c.id = candidate_id where s.{SECTION} {own}", 1, 8)
    assert [len(each) for each in forward[:-1]] == [50] * (len(forward) - 1)
    assert sorted(each for page in forward for each in page) == sorted(each for (each,) in known)
    back, text = [], last
    while text:
        back.append(ids(text))
        text = turned(site, text, "prev")
    assert back == forward[::-1]


def test_a_page_begins_where_a_row_stands_and_says_where_there_is_none(site):
    answer = site.get("/leaderboard", params={"after": 10**9})
    assert (answer.status_code, "there is no row 1000000000" in answer.text) == (422, True)
    assert site.get("/leaderboard", params={"after": "x"}).status_code == 422


def test_rows_that_are_too_many_are_not_counted(ledger, site, monkeypatch):
    monkeypatch.setattr(rows, "MOST_COUNTED", 100)
    client = TestClient(build(ledger), base_url=HERE)
    assert "More than 100 rules at 8x" in board(client, 2, 8, origin="found")
    assert total(board(client, 2, 8)) == 200, "of a whole section the number is known"
    assert total(board(client, 2, 8, origin="published")) == total(board(site, 2, 8, origin="published")) > 0
    assert "1 of" not in re.search(r'class="pager"(.*?)</nav>', board(client, 2, 8, origin="found"), re.DOTALL)[1]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("recall", "recall desc"),
        ("-recall", "recall asc"),
        ("bytes_per_page", "bytes_per_page asc, kl is null, kl, candidate_id"),
        ("id", "candidate_id asc"),
    ],
)
def test_the_leaderboard_is_sorted_by_the_database(site, ask, sort, order):
    known = ask(f"select candidate_id from standing where {SECTION} order by {order} limit 50", 1, 4)
    if "kl" not in order:
        assert ids(board(site, 1, 4, sort=sort)) == [each for (each,) in known]
    else:
        got = ids(board(site, 1, 4, sort=sort))
        width = dict(ask("select candidate_id, bytes_per_page from standing where ratio = 4"))
        assert [width[each] for each in got] == sorted(width[each] for (each,) in known)


FILTERED = {
    "origin=found": "c.proposer != 'zoo'",
    "origin=published": "c.proposer = 'zoo'",
    "origin=reference": "0",
    "origin=greedy": "c.proposer = 'greedy'",
    "task=fidelity": "s.kl is not null",
    "task=speed": "s.speedup is not null",
    "task=confirmed": "s.confirmed",
    "field=int8": "p.text like '%''int8''%'",
    "field=mean": "p.text like '%.mean(''token''%'",
    "field=nothing": "p.text not like '%def summarize%'",
    "q=rule_1": "c.name like '%rule!_1%' escape '!' or c.rationale like '%rule!_1%' escape '!'",
    "q=%": "c.name like '%!%%' escape '!' or c.rationale like '%!%%' escape '!'",
    "q=7": "c.id = 7 or c.name like '%7%' or c.rationale like '%7%' or s.program_digest like '7%'",
    "where=recall > .8 and not confirmed": "s.recall > .8 and not s.confirmed",
    "where=-99999999999999999999 < id < 99999999999999999999": "1",
    "tag=nobody wrote it": "0",
}


@pytest.mark.parametrize("asked", FILTERED)
def test_the_leaderboard_is_filtered(site, ask, asked):
    joined = "standing s join candidate c on c.id = s.candidate_id join source p on p.digest = c.source_digest"
    query = f"select count(*) from {joined} where s.campaign_id = 1 and ratio = 8 and ({FILTERED[asked]})"
    name, _, value = asked.partition("=")
    assert total(board(site, 1, 8, **{name: value})) == ask(query)[0][0]


def test_a_condition_that_cannot_be_is_told_beside_its_field(site):
    answer = site.get("/leaderboard", params={"where": "kll < 1"})
    assert answer.status_code == 422
    assert "did you mean 'kl'?" in html.unescape(answer.text)
    assert site.get("/leaderboard", params={"sort": "nothing"}).status_code == 422


def test_a_view_names_its_section(site):
    text = site.get("/leaderboard?origin=found&sort=recall").text
    [view] = re.findall(r'href="([^"]+)">This view', text)
    assert ids(site.get(f"/leaderboard{html.unescape(view)}").text) == ids(text)
    assert "origin=found" in view
    assert "at=" in view


def test_models_and_devices_choose_among_sections(site):
    text = site.get("/leaderboard", params={"model": "a-model"}).text
    assert "NVIDIA H200" in text.partition('id="rows"')[2]
    assert "smollm2" not in text.partition('id="rows"')[2]
    assert "AMD EPYC" in site.get("/leaderboard", params={"device": "AMD EPYC"}).text.partition('id="rows"')[2]


def test_figures_and_fronts_are_those_of_the_command_line(site, ledger):
    for section in sections(ledger.standings(1, None, Choice(ratio=8.0))):
        text = site.get("/fronts", params={"campaign": 1, "at": slug(site, 1, 8)}).text
        shown = [int(each) for each in re.findall(r'<tr class="front">.*?/rules/(\d+)"', text, re.DOTALL)]
        assert shown == [s.id for s in section.front]
        assert f'id="front">{len(section.front)} on the front' in text
        marked = re.findall(r'class="front[^"]*">\s*<td><input[^>]*value="(\d+)"', board(site, 1, 8))
        assert set(map(int, marked)) == {s.id for s in section.front}


def test_the_answer_names_the_best_found_rule_and_the_least_of_its_leads(site, ask):
    order = "and kl is not null and s.status = 'ok' order by kl limit 1"
    joined = "from standing s join candidate c on c.id = s.candidate_id where s.campaign_id = 3 and ratio = 8 and"
    [(number, name, kl)] = ask(f"select s.candidate_id, name, kl {joined} proposer != 'zoo' {order}")
    [(rival, theirs)] = ask(f"select s.candidate_id, kl {joined} proposer = 'zoo' {order}")
    text = " ".join(html.unescape(site.get("/answer", params={"campaign": 3, "at": slug(site, 3, 8)}).text).split())
    assert f"{name} ({number}), KL to dense attention {figure(kl, 0.9 * kl, 1.1 * kl)} on the texts" in text
    assert f"({rival}) at {figure(theirs, 0.9 * theirs, 1.1 * theirs)}, is {figure(theirs - kl, 0, 1)[:5]}" in text
    assert "it was not measured on held-out data" in text
    assert f'href="/rules/{number}?ratio=8.0"' in text


def test_a_campaign_names_its_leaders_at_each_cost_ratio(site, ask):
    text = site.get("/campaigns/1").text
    for ratio in (4, 8, 16):
        [row] = re.findall(rf'<th scope="row">{ratio}x</th>(.*?)</tr>', text, re.DOTALL)
        led = []
        for own in ("!=", "="):
            query = f"select c.id from standing s join candidate c on c.id = candidate_id where s.{SECTION} and kl > 0 "
            led += ask(f"{query} and proposer {own} 'zoo' order by kl limit 1", 1, ratio)
        assert re.findall(r'href="/rules/(\d+)', row) == [str(each) for (each,) in led]


def test_sections_are_counted_as_a_group_would_count_them(ledger, ask):
    from search.store.models import SECTION as COLUMNS
    from search.store.shown.sections import sections

    grouped = f"select {', '.join(COLUMNS)}, campaign_id, count(*), count(kl) from standing group by"
    known = ask(f"{grouped} {', '.join(COLUMNS)}, campaign_id")
    with ledger.reading() as session:
        found = sections(session)
    assert sorted((*s.key, *each) for s in found for each in s.campaigns) == sorted(known)
    assert len(known) > 3


def test_curves_show_the_best_found_and_the_best_published(site, ask):
    text = html.unescape(site.get("/budgets", params={"campaign": 3}).text)
    for ratio in (4, 8, 16):
        for told, is_published in (("best found", 0), ("best published", 1)):
            query = "select s.kl from standing s join candidate c on c.id = s.candidate_id "
            query += f"where s.{SECTION} and kl is not null and (c.proposer = 'zoo') = ? order by kl limit 1"
            [(kl,)] = ask(query, 3, ratio, is_published)
            assert re.search(rf"at {ratio}x [^;]*{told} {kl:.4f}|at {ratio}x [^;]*{told} {kl:.3f}", text), (ratio, told)


def test_time_is_told_by_stage(site, ask):
    text = site.get("/campaigns/2/time").text
    query = """select e.stage, count(*), sum(e.elapsed_s) from evaluation e
        join candidate_evaluation l on l.evaluation_id = e.id join candidate c on c.id = l.candidate_id
        where c.campaign_id = 2 and e.workload_digest in (select digest from workload
        where json_extract(definition, '$.ratio') = 8) group by 1"""
    for stage, number, seconds in ask(query):
        row = re.search(rf'<th scope="row">{stage}</th><td>8x</td>(.*?)</tr>', text, re.DOTALL).group(1)
        cells = re.findall(r">([^<]*)</td>", row)
        assert cells[0] == f"{number:,}"
        assert cells[4] == f"{seconds:,.1f}"


def test_time_is_read_from_what_was_counted(ledger):
    """As `vortex status` reads it: nobody goes through all evaluations again, of which there may be millions."""
    asked, took = [], ledger.progress(2).took

    def note(_connection, _cursor, statement, *_rest):
        asked.append(statement)

    event.listen(ledger.engine, "before_cursor_execute", note)
    try:
        with TestClient(build(ledger), base_url=HERE) as client:
            text = client.get("/campaigns/2/time").text
    finally:
        event.remove(ledger.engine, "before_cursor_execute", note)
    assert text.count('<th scope="row">') == len(took) > 3
    assert asked
    assert [each for each in asked if "elapsed_s" in each] == []


def test_every_device_that_speed_is_modelled_for_is_named(changed):
    site = changed(
        "update standing set kl = .1, modelled_speedup = 2, target = case candidate_id % 2 when 0 then 'A' else 'B' end"
    )
    text = site.get("/fronts").text
    assert re.search(r"modelled speed-up on [AB]\b", text)  # one axis is of one device
    assert {device for device in "AB" if f"2.0x <small>{device}</small>" in text} == {"A", "B"}


def test_the_answer_names_the_device_of_each_modelled_speed(changed):
    site = changed("update standing set kl = .1, modelled_speedup = 2, target = 'B200'")
    assert "2.0x <small>B200</small>" in site.get("/answer").text


def test_what_was_confirmed_stands_with_its_interval(changed):
    site = changed(
        "update standing set kl = .1, confirmed = 1, confirmed_kl = .2, confirmed_kl_low = .18, confirmed_kl_high = .22"
    )
    for page in ("/leaderboard", "/fronts"):
        assert "0.200 <small>[.180,.220]</small>" in site.get(page).text


def test_what_ended_in_the_second_in_which_a_campaign_began_was_not_given(changed, writable):
    """SQLite's clock has whole seconds, and Python's times have fractions: as texts they do not compare."""
    site = changed("update campaign set created_at = '2026-11-01 00:00:00'",
                   "update evaluation set finished_at = '2026-11-01 00:00:00'")  # fmt: skip
    with Session(connect(writable)) as session, session.begin():
        tally.rebuild(session)
    text = site.get("/campaigns/1/time").text
    rows = re.findall(r'<th scope="row">[a-z]+</th><td>8x</td>(.*?)</tr>', text, re.DOTALL)
    given = [re.findall(r">([^<]*)</td>", row)[:2] for row in rows]
    assert given
    assert all(int(measured) > 0 and number in ("0", "·", "–") for measured, number in given)


def test_who_is_judged_at_one_cost_ratio_or_another_counts_once(changed):
    site = changed("update candidate set proposer = 'one', operator = 'mutate'", "update standing set kl = null",
                   "update standing set kl = .1, status = 'ok' where candidate_id in (3, 4) and ratio = 4",
                   "update standing set kl = .2, status = 'ok' where candidate_id in (4, 5) and ratio = 8")  # fmt: skip
    text = site.get("/earnings?campaign=1").text
    [cells] = re.findall(r"<bdi>one</bdi></th>(.*?)</tr>", text, re.DOTALL)
    assert re.findall(r">([^<]*)</td>", cells)[4] == "3"


def test_earnings_and_money_are_sums(site, ask):
    earnings, money = (site.get(page, params={"campaign": 1}).text for page in ("/earnings", "/money"))
    query = (
        "select proposer, count(*), sum(dollars), sum(prompt_tokens) from candidate where campaign_id = 1 group by 1"
    )
    for proposer, number, dollars, tokens in ask(query):
        cells = re.findall(rf"<bdi>{proposer}</bdi></th>(.*?)</tr>", earnings, re.DOTALL)[0]
        assert re.findall(r">([^<]*)</td>", cells)[0] == f"{number:,}"
        cells = re.findall(r">([^<]*)</td>", re.findall(rf"<bdi>{proposer}</bdi></th>(.*?)</tr>", money, re.DOTALL)[0])
        assert cells[3] == (f"{tokens:,}" if tokens else "·")
        assert cells[6] == (f"${dollars:.2f}" if dollars >= 1 or not dollars else f"${dollars:.4f}")


def test_moves_count_for_each_that_made_a_program(site, ask):
    [(number,)] = ask("select count(*) from candidate where campaign_id = 1 and operator = 'recenter+reserve'")
    moves = site.get("/earnings", params={"campaign": 1}).text.partition("By move")[2]
    for name in ("recenter", "reserve"):
        assert re.search(rf'<bdi>{name}</bdi></th>\s*<td class="n">{number}</td>', moves)


def test_the_journal_holds_what_was_predicted_and_its_verdict(site, ask, ledger):
    from search.journal.journal import journal_of

    [(number,)] = ask(
        "select count(distinct candidate_id) from hypothesis h join candidate c on c.id = h.candidate_id "
        "where campaign_id = 1"
    )
    text = site.get("/journal", params={"campaign": 1}).text
    assert f'id="written">{number} rules with hypotheses' in text
    shown = re.findall(r'class="badge verdict-([\w-]+)">', text)
    judged = journal_of(ledger.records(1)).hypotheses[::-1]
    assert shown == [str(each.verdict).replace(" ", "-") for each in judged]


def test_an_empty_ledger_has_pages_too(tmp_path):
    from search.store.ledger import SqlLedger

    url = f"sqlite:///{tmp_path / 'empty.db'}"
    SqlLedger(url).close()
    client = TestClient(build(SqlLedger(url, read_only=True)), base_url="http://127.0.0.1")
    for page in ("/", "/fronts", "/budgets", "/leaderboard", "/journal", "/earnings", "/money"):
        assert client.get(page).status_code == 200
