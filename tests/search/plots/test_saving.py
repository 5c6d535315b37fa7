"""Figures as files."""

import re
from threading import Thread

import pytest
from matplotlib import rcParams

from search.plots import PlotError, encoded, save, within
from search.plots.style import DARK, FOUND, figure, styled


def drawn():
    with styled():
        made = figure(2.0, 1.0)
        made.subplots().plot([1, 2], [3, 4], color=FOUND, label="a < b")
        made.suptitle("a & b")
    return made


def test_a_suffix_says_what_is_written_and_another_is_refused(tmp_path):
    save(drawn(), tmp_path / "a.PNG")
    assert (tmp_path / "a.PNG").read_bytes()[:4] == b"\x89PNG"
    save(drawn(), tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_bytes() == encoded(drawn(), "svg"), "the same figure, the same bytes"
    with pytest.raises(PlotError, match=r"a\.pdf is neither \.svg nor \.png"):
        save(drawn(), tmp_path / "a.pdf")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.PNG", "a.svg"]


def test_where_a_file_cannot_be_a_sentence_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PlotError, match="was not written: "):
        save(drawn(), tmp_path / "file" / "a.svg")


def test_an_svg_has_its_text_as_text_a_title_and_colours_for_dark_screens():
    svg = encoded(drawn(), "svg").decode()
    assert "<title>a &amp; b</title>" in svg
    assert ">a &amp; b</text>" in svg
    assert f"stroke: {FOUND}" in svg, "a style that knows no dark screen is not needed to see it"
    assert f'[style*="stroke: {FOUND}"] {{ stroke: {DARK[FOUND]} !important }}' in svg


def test_figures_within_one_page_have_ids_of_their_own_and_lead_to_them():
    page = "".join(within(encoded(drawn(), "svg", "1 < 2"), name) for name in ("one", "two"))
    ids = re.findall(r'\sid="([^"]+)"', page)
    led = set(re.findall(r'(?:href="|url\()#([^")]+)', page))
    assert len(ids) == len(set(ids)) > 10
    assert led
    assert led <= set(ids)
    assert page.count("<desc>1 &lt; 2</desc>") == 2
    assert "xlink" not in page


def test_what_an_svg_says_when_read_aloud_may_hold_names_of_others():
    svg = encoded(drawn(), "svg", "best: \x1b[31mx\x00\ufffe\u202e")
    assert "<desc>best: \ufffd[31mx\ufffd\ufffd\ufffd</desc>" in within(svg, "one")


def test_our_style_is_no_one_else_s_and_threads_do_not_meet():
    before = dict(rcParams)
    found = []
    threads = [Thread(target=lambda: found.append(encoded(drawn(), "svg"))) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(found)) == 1
    assert dict(rcParams) == before
