"""Markdown and HTML: well-formed, the same for everybody, bounded, and no text of an agent's is more than text."""

from dataclasses import dataclass, replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from search.ranking.comparison import Circumstances
from search.ranking.standing import Standing
from search.records import (
    Candidate,
    Environment,
    Evaluation,
    EvaluationKey,
    Measurement,
    Progress,
    Proposal,
    Record,
    Stage,
    Status,
    Workload,
)
from search.report.blocks import Answer, Column, Grid, Items, Listing, Part, Report, Words
from search.report.markdown import escaped, markdown
from search.report.material import gather
from search.report.page import page
from search.report.report import report
from search.store.spent import Spent

HOSTILE = "<script>alert('x')</script> **b** _i_ `c` [l](http://evil) ![p](x) | a & b &lt; ~~s~~ $m$ </td></pre> # h"
VOID = {"meta", "br", "img", "hr", "link", "input"}


class Tree(HTMLParser):
    """Checks that every element is closed, and collects what there is."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.ids, self.links, self.texts, self.addresses = [], [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.tags.append(tag)
        self.ids += [told["id"]] if "id" in told else []
        self.links += [told["href"]] if "href" in told else []
        self.addresses += [value for name, value in attrs if name in ("src", "srcset", "action", "data", "poster")]
        assert not any(name.startswith("on") for name in told)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())


def read(html):
    tree = Tree()
    tree.feed(html)
    tree.close()
    assert tree.open == []
    return tree


def tokens(text):
    """Give Markdown's tokens as GitHub reads them, those within lines too."""
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        yield token
        yield from token.children or ()


def told(*blocks):
    return Report("T", "s", Answer(False, HOSTILE), (Answer(False, HOSTILE, (HOSTILE,), (HOSTILE,)),),
                  (Part(HOSTILE, blocks),))  # fmt: skip


@pytest.fixture
def hostile():
    grid = Grid(HOSTILE, (Column(HOSTILE), Column("n", True)), ((HOSTILE, "1"), ("- a", "2"), ("1. a", "=")), HOSTILE)
    listing = Listing(f"x = '''{HOSTILE}'''\n```\n</code></pre><script>\n")
    return told(grid, Words(HOSTILE), Words(HOSTILE, is_quiet=True), Items((HOSTILE, "# no", "+ no")), listing)


def test_the_page_is_well_formed_and_needs_nothing_else(searched):
    html = page(searched.report())
    tree = read(html)
    assert "script" not in tree.tags
    assert tree.addresses == []
    assert len(tree.ids) == len(set(tree.ids))
    assert {link.removeprefix("#") for link in tree.links} <= set(tree.ids)
    assert all(link.startswith("#") for link in tree.links)
    assert html.replace("http://www.w3.org/2000/svg", "").count("http") == html.count('http-equiv="Content')
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert 'name="viewport"' in html
    assert tree.tags.count("svg") == html.count('role="img"') == html.count("<desc") >= 2


def test_what_agents_wrote_is_text_on_the_page(hostile):
    tree = read(page(hostile))
    assert "script" not in tree.tags
    assert tree.text.count(HOSTILE) >= 10
    assert "http://evil" not in tree.links


def test_what_agents_wrote_is_text_in_markdown(hostile):
    text = markdown(hostile)
    found = list(tokens(text))
    kinds = {token.type for token in found}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "s_open", "code_inline", "code_block"}
    assert "table_open" in kinds
    assert sum(HOSTILE in each for each in merged(found)) >= 8
    assert sum(token.type == "heading_open" for token in found) == 2
    rows = [token for token in found if token.type == "tr_open"]
    cells = [token for token in found if token.type in ("td_open", "th_open")]
    assert (len(rows), len(cells)) == (4, 8)
    assert sum(token.type == "fence" for token in found) == 1
    assert sum(token.type == "list_item_open" for token in found) == 5


def merged(found):
    """Give each line's text as readers see it."""
    for token in found:
        if token.type == "inline":
            yield "".join(child.content for child in token.children or () if child.type in ("text", "text_special"))


@pytest.mark.parametrize(
    "text",
    ["- a", "+ a", "1. a", "2) a", "===", "---", "# a", "> a", "```", "_a_", "*a*", "&amp;", "<b>", "a\\", "~~a~~"],
)
def test_escaped_text_reads_as_it_was(text):
    found = list(tokens(escaped(text)))
    assert [token.type for token in found[:2]] == ["paragraph_open", "inline"]
    assert "".join(merged(found)).strip() == text.strip()


def test_numbers_and_names_stay_readable_in_markdown():
    assert escaped("-0.0012 (held-out), 1.19x") == "-0.0012 (held-out), 1.19x"
    assert escaped("see http://a.b and www.c") == r"see http\://a.b and www\.c"


def test_pictures_of_markdown_are_files_that_stand_alone(searched):
    from search.report.markdown import pictures

    report_ = searched.report()
    named = [picture.name for picture in pictures(report_)]
    assert [name for name in named if f"]({name}.svg)" not in markdown(report_)] == []
    for picture in pictures(report_):
        root = ElementTree.fromstring(picture.svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.find("{http://www.w3.org/2000/svg}desc").text == picture.alt
        assert "prefers-color-scheme" in root.find("{http://www.w3.org/2000/svg}style").text


HERE = Environment("d" * 300, "6", "3.11", "2.13", "0.32", dtype="float32")
CHECK, FIDELITY = (Workload(stage, 200, 4, ratio=8.0) for stage in (Stage.CHECK, Stage.FIDELITY))
NUM = 10_000
SETTINGS = '{"workloads":[{"stage":"check","num_tokens":200,"num_sequences":4},{"stage":"fidelity","num_tokens":200}]}'


@dataclass
class Huge:
    """A ledger of ten thousand candidates with long names and messages: what SQL would take half a minute to store."""

    num: int = NUM

    def records(self, campaign_id):
        return [self._record(i) for i in range(self.num)]

    def _record(self, i):
        parents = (f"{i - 1:016}",) if i % 3 else ()
        operator = f"move{i % 700}+{HOSTILE}"
        proposal = Proposal("x" * 16_000, f"proposer{i % 300}", operator, parents, HOSTILE * 9)
        status = Status.PROGRAM_ERROR if i % 2 else Status.OK
        message = f"{'no such thing ' * 40}{chr(97 + i % 26) * (i % 90)}"
        candidate = Candidate(1, i, proposal, status, message, f"{i:016}", f"N{i}{HOSTILE}", i + 1)
        return Record(candidate, () if i % 2 else (self._evaluation(i, CHECK), self._evaluation(i, FIDELITY)))

    def _evaluation(self, i, workload):
        key = EvaluationKey(f"{i:016}", workload.stage, workload.digest, "m", HERE.digest, "1", 0)
        kl = Measurement("kl", 1 / (i + 1), 0.9 / (i + 1), 1.1 / (i + 1))
        return Evaluation(key, Status.OK, "", (kl,), ratio=8.0)

    def standings(self, campaign_id):
        usual = dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "recall", "pages_attended"))
        place = {"device": HERE.device, "model": "m", "model_digest": "m", "environment": HERE.digest,
                 "evaluator_version": "1", "ratio": 8.0, "lengths": (200,)}  # fmt: skip
        return [
            Standing(id=i + 1, name=f"N{i}{HOSTILE}", digest=f"{i:016}", origin="zoo/seed" if i < 80 else "llm/explore",
                     parents=(), kl=1 / (i + 1), kl_low=0.9 / (i + 1), kl_high=1.1 / (i + 1), bytes_per_page=8.0,
                     speedup=1 + i % 50, speedup_low=1 + i % 50, speedup_high=2 + i % 50, **usual, **place)
            for i in range(0, self.num, 2)
        ]  # fmt: skip

    def spent(self, campaign_id):
        return Spent(0.0, tuple(float(i) for i in range(self.num)), ())

    def progress(self, campaign_id):
        return Progress(self.num, (), 0)

    def workload(self, digest):
        return {each.digest: each for each in (CHECK, FIDELITY)}[digest]

    def environment(self, digest):
        return HERE


@pytest.fixture(scope="module")
def huge():
    from search.records import StoredCampaign

    return report(gather(Huge(), StoredCampaign(0, NUM, ("llm",), "m", SETTINGS, 1)))


def test_ten_thousand_candidates_fit_two_megabytes(huge):
    for text in (page(huge), markdown(huge)):
        assert 10_000 < len(text.encode()) < 2_000_000
        assert "4,9" in text, "how many are left out is said"


def test_a_huge_page_is_well_formed_too(huge):
    tree = read(page(huge))
    assert "script" not in tree.tags
    assert len(tree.ids) == len(set(tree.ids))


def test_knowncircumstances_are_those_of_the_records():
    from search.report.material import known_of

    known = known_of(Huge(4), Huge(4).records(1))
    assert isinstance(known, Circumstances)
    assert set(known.workloads) == {CHECK.digest, FIDELITY.digest}
    assert known.environments == {HERE.digest: HERE}
    assert replace(HERE, commit="a").digest == HERE.digest
