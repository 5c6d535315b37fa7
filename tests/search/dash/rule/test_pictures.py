"""Pictures of attention in the dashboard: from a recording on this machine, by a process of its own."""

from xml.etree import ElementTree

import pytest

from search.contracts import LookError
from search.dash.rule.gathering import rule
from search.dash.rule.pictures import Pictures
from search.store.ledger import SqlLedger


def test_where_nothing_was_recorded_a_sentence_says_so(site, made, cache):
    answer = site.get(f"/rules/{made.child}/figures/attention.svg?ratio=8")
    assert answer.status_code == 404
    assert "has not been recorded on this machine" in answer.text
    assert "has not been recorded on this machine" in site.get(f"/rules/{made.child}/attention?ratio=8").text
    assert "were not measured here" in site.get(f"/rules/{made.refused}/attention").text
    assert site.get(f"/rules/{made.child}/attention?layers=0;DROP").status_code == 422


def test_a_picture_is_drawn_of_the_recording_that_recall_was_measured_on(site, made, record):
    record()
    part = site.get(f"/rules/{made.child}/attention?ratio=8&layers=1,2")
    assert "Quest keeps 0." in part.text
    assert f'src="/rules/{made.child}/figures/attention.svg?ratio=8.0&amp;layers=1%2C2"' in part.text
    answer = site.get(f"/rules/{made.child}/figures/attention.svg?ratio=8&layers=1,2")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "style-src 'unsafe-inline'; img-src data:" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"], "nothing is allowed that is not named"
    texts = [each.text for each in ElementTree.fromstring(answer.text).iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith("layer 2: the rule keeps 0.") for text in texts)
    assert not any(text.startswith("layer 0: ") for text in texts)
    assert any("13 pages of 16 tokens" in text for text in texts)
    refused = site.get(f"/rules/{made.child}/figures/attention.svg?ratio=8&layers=7")
    assert (refused.status_code, "layer 7 is not recorded" in refused.text) == (404, True)


def test_who_comes_when_others_wait_is_told_to_come_again(site, made, cache):
    pictures = Pictures(lambda: cache)
    places = pictures._places
    while places.acquire(blocking=False):
        pass
    opened = SqlLedger(made.url, read_only=True)
    asked = rule(type("Site", (), {"ledger": opened}), made.child)
    with pytest.raises(LookError, match="ask again in a moment"):
        pictures.drawn(asked, 8.0, ())
    opened.close()
