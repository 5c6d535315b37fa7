"""What the site shows beside docs/: pages of the repository's root, and each file that a page links to as a page.

So a link to `../vortex_dsl/zoo/quest.py` leads to the file where the pages are read in the repository, and in the site
too. A link to what is not there is left as it is, and MkDocs, which is strict, refuses it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"contributing.md": "CONTRIBUTING.md", "changes.md": "CHANGELOG.md"}  # of the site, and where each lies
SHOWN = "source/"  # where the site has files of the repository
LINK = re.compile(r"(?<=\]\()(?P<target>[^)#\s:]+)(?=[)#])")
LANGUAGES = {".py": "python", ".toml": "toml", ".sh": "sh", ".md": "md"}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that do not lie in docs/."""
    for uri, path in PAGES.items():
        files.append(File.generated(config, uri, content=(ROOT / path).read_text()))
    linked = {path for file in files.documentation_pages() for path in _linked(file)}
    for path in sorted(path for path in linked if _uri(path).startswith(SHOWN)):
        files.append(File.generated(config, _uri(path), content=_shown(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links to what lies outside docs/, and links of what lies there, at the site's pages."""
    if page.file.src_uri.startswith(SHOWN):
        return markdown
    up = "../" * page.file.src_uri.count("/")

    def pointed(match: re.Match[str]) -> str:
        path = _path(page.file, match["target"])
        return match["target"] if path is None else up + _uri(path)

    return LINK.sub(pointed, markdown)


def _linked(file: Any) -> set[Path]:
    """Give the files of the repository that a page links to."""
    paths = (_path(file, match["target"]) for match in LINK.finditer(file.content_string))
    return {path for path in paths if path is not None}


def _path(file: Any, target: str) -> Path | None:
    """Give the file that a page's link leads to, from the root on; None where none is there."""
    place = ROOT / PAGES.get(file.src_uri, f"docs/{file.src_uri}")
    path = (place.parent / target).resolve()
    return path.relative_to(ROOT) if path.is_file() and path.is_relative_to(ROOT) else None


def _uri(path: Path) -> str:
    """Give the name of a file in the site."""
    if path.parts[0] == "docs":
        return path.relative_to("docs").as_posix()
    named = {place: uri for uri, place in PAGES.items()}
    return named.get(path.as_posix(), f"{SHOWN}{path.as_posix()}.md")


def _shown(path: Path) -> str:
    text = (ROOT / path).read_text()
    fence = "`" * (3 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"# {path.as_posix()}\n\n{fence}{LANGUAGES.get(path.suffix, 'text')}\n{text}{fence}\n"
