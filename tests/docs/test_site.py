"""The site is built without a warning, every link leads somewhere, and nothing is loaded from another host."""

import re
import shutil
from html.parser import HTMLParser

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from tests.docs.shell import DOCS, ROOT

LOADED = {
    "img": "src",
    "script": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}


def built(docs, into):
    config = load_config(str(ROOT / "mkdocs.yml"), docs_dir=str(docs), site_dir=str(into))
    build(config)
    return into


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return built(DOCS, tmp_path_factory.mktemp("site"))


class Page(HTMLParser):
    """What a page loads and links to, and the texts of its pictures."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.undescribed = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in LOADED and given.get("rel") != "canonical":
            self.loads.append(given.get(LOADED[tag]) or "")
        if tag == "a":
            self.links.append(given.get("href") or "")
        if tag == "img" and len(given.get("alt") or "") < 20:
            self.undescribed.append(given.get("src"))


def pages(site):
    return {path.relative_to(site).as_posix(): Page(path.read_text()) for path in site.rglob("*.html")}


def test_nothing_is_loaded_from_another_host(site):
    found = pages(site)
    assert len(found) > 20
    assert [(name, load) for name, page in found.items() for load in page.loads if "//" in load] == []
    assert not any('class="mermaid"' in path.read_text() for path in site.rglob("*.html"))  # would be fetched
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert "@import" not in styles
    assert [url for url in re.findall(r"url\(([^)]*)\)", styles) if "//" in url and "data:" not in url[:6]] == []


def test_whatever_is_loaded_is_there(site):
    for name, page in pages(site).items():
        folder = (site / name).parent
        assert [load for load in page.loads if not (folder / load.lstrip("/")).exists()] == [], name


def test_whatever_is_linked_to_is_there(site):
    for name, page in pages(site).items():
        folder = (site / name).parent
        inner = [link.split("#")[0] for link in page.links if not link.startswith(("http", "mailto:", "/"))]
        assert [link for link in inner if not (folder / link).exists()] == [], name


def test_every_picture_says_what_it_shows(site):
    assert {name: page.undescribed for name, page in pages(site).items() if page.undescribed} == {}


def test_files_outside_are_shown_where_pages_link_to_them(site):
    shown = (site / "source" / "vortex_dsl" / "zoo" / "quest.py.html").read_text()
    assert "class" in shown
    assert "arXiv:2406.10774" in shown
    assert 'href="source/vortex_dsl/zoo/quest.py.html"' in (site / "language.html").read_text()
    assert 'href="architecture.html"' in (site / "contributing.html").read_text()
    assert 'href="contributing.html"' in (site / "index.html").read_text()


def test_broken_links_stop_the_build(tmp_path, caplog):
    """Each of them is told; a build that has anything to tell ends."""
    links = ["missing.md", "tutorial.md#nowhere", "../vortex_dsl/absent.py", "pictures/none.svg"]
    small = tmp_path / "docs"
    small.mkdir()
    shutil.copy(DOCS / "tutorial.md", small)
    (small / "index.md").write_text("# Home\n\n" + "".join(f"[there]({link})\n" for link in links))
    with pytest.raises(Abort):
        built(small, tmp_path / "site")
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [link for link in links if not any(link.split("#")[-1] in each for each in told)] == []
