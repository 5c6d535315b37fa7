"""What the pages of a rule and of two say, over HTTP."""

import json
import re
from html.parser import HTMLParser

import pytest


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and its text without tags."""

    def __init__(self, answer):
        super().__init__()
        self.text, self.elements = "", []
        self.code = answer.status_code
        self.feed(answer.text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.text += " " * (tag != "span")  # those of highlighting stand within words

    def handle_data(self, data):
        self.text += data

    def links(self):
        return [attrs["href"] for tag, attrs in self.elements if tag == "a" and "href" in attrs]


@pytest.fixture
def page(site):
    return lambda path: Page(site.get(path))


def test_a_rule_shows_idea_figures_with_intervals_and_circumstances(page, made):
    shown = page(f"/rules/{made.child}")
    assert shown.code == 200
    for told in ("kl 0.100 [0.050,0.200] n=4", "mass 0.731 [0.700,0.800] n=2", "speedup 2.000 [1.818,2.200]"):
        assert told in shown.text
    assert "100, 200 tokens; a small CPU, float32, vllm 0.32.0; evaluator 3, seed 0" in shown.text
    assert "held out ok" in shown.text
    assert "0.432 [0.100,0.900]" in shown.text, "people see what was confirmed; proposers do not"
    assert "llm/mutate" in shown.text
    assert made.digest in shown.text


def test_parts_are_in_tables_by_layer_kind_length_and_text(page, made):
    shown = page(f"/rules/{made.child}").text
    layers = re.search(r"by layer layer mass (.*?) fidelity", shown)[1]
    assert re.findall(r"(\d+) (0\.\d{3}|-0\.\d{3}) \[", layers)[:3] == [("0", "0.900"), ("1", "0.800"), ("2", "0.700")]
    assert layers.index("10 ") > layers.index("9 "), "numbers are sorted as numbers"
    for part in ("by kind kind kl prose 0.100 [0.000,1.000] n=3", "by length length kl 100 0.050", "by text text kl 0"):
        assert part in shown


def test_a_hypothesis_is_judged_by_what_proposers_saw_of_it_and_its_parent(page, made):
    shown = page(f"/rules/{made.child}").text
    assert "averaging loses less" in shown
    assert "kl < parent" in shown
    assert re.search(r"confirmed averaging loses less", shown)


def test_lineage_leads_to_parents_and_children_and_tells_what_changed(page, made):
    shown = page(f"/rules/{made.child}")
    assert {f"/rules/{made.quest}", f"/rules/{made.grandchild}", f"/compare/{made.quest}/{made.child}"} <= set(
        shown.links()
    )
    boxes = [attrs for tag, attrs in shown.elements if tag == "rect"]
    assert len(boxes) == 3
    assert len({box["x"] for box in boxes}) == 3, "a generation each"
    assert '- return topk(bound.max("head"), self.pages)' in shown.text
    assert '+ return topk(bound.mean("head"), self.pages)' in shown.text


def test_cost_is_told_by_stage_and_by_field_at_the_fitted_budget(page, made):
    shown = page(f"/rules/{made.child}").text
    assert "at 200 tokens" in shown
    assert "dense_layers=0, pages=2" in shown
    kept = re.search(r"What is kept of a page, by field (.*?) What it attends to", shown)[1]
    assert re.findall(r"(\S+) float\[dim=8\] (\w+) (\d+)", kept) == [
        ("lo", "bfloat16", "16"),
        ("hi", "bfloat16", "16"),
    ]
    assert "all, aligned 32" in kept


def test_a_digest_leads_to_its_rule_and_an_unknown_one_to_a_sentence(site, made):
    answer = site.get(f"/rules/{made.digest[:10]}", follow_redirects=False)
    assert answer.headers["location"] == f"/rules/{made.child}"
    assert site.get("/rules/999999").status_code == 404
    assert "There is no candidate" in site.get("/rules/nothing").text
    assert site.get(f"/rules/{'9' * 80}").status_code == 422
    assert site.get(f"/rules/{made.child}?ratio=nan").status_code in (200, 422)


def test_kernels_and_tape_are_what_the_compiler_makes(page, made):
    shown = page(f"/rules/{made.child}/compiled?ratio=8").text
    assert "def summarize_0(" in shown
    assert "def map_0(" in shown
    assert re.search(r"segment \d+ to \d+, once", shown)
    assert "map.mul ->" in shown or "contract ->" in shown
    assert "was not measured at a cost ratio of 4" in page(f"/rules/{made.child}/compiled?ratio=4").text


@pytest.mark.parametrize("part", ["", "/conversation", "/compiled"])
@pytest.mark.parametrize("which", ["child", "grandchild", "refused"])
def test_hostile_text_is_text(site, made, part, which):
    answer = site.get(f"/rules/{getattr(made, which)}{part}")
    assert answer.status_code == 200
    shown = Page(answer)
    assert not [tag for tag, attrs in shown.elements if tag == "script" and "src" not in attrs]
    assert "\u202e" not in answer.text
    assert "\x1b" not in answer.text
    if "alert" in shown.text:
        assert "<script>alert('x')</script>" in shown.text
        assert "{{ 7 * 7 }}" in shown.text
    assert not [attrs for _, attrs in shown.elements if any(name.startswith(("on", "style")) for name in attrs)]


def test_hostile_text_is_there(site, made):
    for path in (f"/rules/{made.child}", f"/rules/{made.refused}", f"/rules/{made.child}/conversation"):
        assert "<script>alert('x')</script>" in Page(site.get(path)).text


def test_large_text_is_cut_and_fetched_whole(site, made):
    part = site.get(f"/rules/{made.child}/conversation")
    assert len(part.text) < 30_000
    whole = site.get(f"/rules/{made.child}/conversation.json")
    assert json.loads(whole.text)[1]["content"] == made.secret
    source = site.get(f"/rules/{made.refused}/source.txt")
    assert source.headers["content-type"].startswith("text/plain")
    assert source.headers["x-content-type-options"] == "nosniff"
    assert "fidelity at 8" in site.get(f"/rules/{made.child}/logs.txt").text


def test_two_rules_are_compared_in_pairs(page, site, made):
    answer = site.get(f"/compare?id={made.quest}&id={made.child}", follow_redirects=False)
    assert answer.headers["location"] == f"/compare/{made.quest}/{made.child}"
    answer = site.get(f"/compare?id={made.quest}&id={made.digest[:9]}", follow_redirects=False)
    assert answer.headers["location"] == f"/compare/{made.quest}/{made.child}", "a rule's page asks for a digest too"
    shown = page(f"/compare/{made.quest}/{made.child}").text
    found = re.search(r"8x fidelity kl (\S+) (\S+) (\S+) \[(\S+),(\S+)\] (?:not told apart )?4 ", shown)
    assert found.groups()[:3] == ("0.2300", "0.1150", "-0.115")
    assert float(found[4]) < -0.115 < float(found[5])
    assert "speedup 1.5000 2.0000 1.333x" in shown
    assert '- return topk(bound.max("head"), self.pages)' in shown
    assert "Cost at 8x" in shown


def test_what_cannot_be_compared_is_told(page, site, made):
    assert "has no figures" in page(f"/compare/{made.quest}/{made.refused}").text
    refused = site.get(f"/compare?id={made.quest}")
    assert (refused.status_code, "tick or name two" in refused.text) == (422, True)
