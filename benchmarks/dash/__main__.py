"""How soon the dashboard shows something: `python -m benchmarks.dash [--rules 10000] [--keep FILE]`.

Makes a ledger, starts `vortex dash` on it in a process of its own, and asks for each page: the first time, then again
after what is kept in memory has run out, then at once. With Playwright and a Chromium, the first paint of the
leaderboard too, each time in a new browser.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.dash.made import Size, make
from search.dash.site import KEPT_S

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")  # as systems call it
NUM_PAINTS = 5
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
PAGES = (
    "/leaderboard", "/leaderboard?sort=recall", "/leaderboard?sort=-name", "/leaderboard?origin=published",
    "/leaderboard?origin=found&sort=kl", "/leaderboard?q=rule_77", "/leaderboard?field=int4",
    "/leaderboard?where=kl<.05 and modelled_speedup>4", "/answer", "/fronts", "/budgets", "/", "/campaigns/1",
    "/campaigns/1/time", "/earnings", "/money", "/journal",
)  # fmt: skip


@contextmanager
def serving(file: Path, *options: str) -> Iterator[str]:
    """Start `vortex dash` at a free port and give its address."""
    command = [sys.executable, "-c", "import sys; from search.cli import main; sys.exit(main())", "dash"]
    running = subprocess.Popen(
        [*command, "--db", f"sqlite:///{file}", "--port", "0", *options], stderr=subprocess.PIPE, text=True
    )
    try:
        assert running.stderr is not None
        said = running.stderr.readline()
        found = re.search(r"http://\S+:\d+", said)
        assert found, said + running.stderr.read()
        yield found.group(0)
    finally:
        running.terminate()
        running.wait(30)


def seconds(url: str) -> float:
    """Ask for a page and give how long its last byte took."""
    began = time.perf_counter()
    with urllib.request.urlopen(url.replace(" ", "%20").replace("<", "%3C").replace(">", "%3E"), timeout=120) as answer:
        answer.read()
    return time.perf_counter() - began


def chromium() -> str | None:
    """Give the path of the system's Chromium, None where it has none."""
    return next(filter(None, map(shutil.which, CHROMIUMS)), None)


def paints(url: str) -> list[float]:
    """Give the first contentful paints of a page in seconds, each in a new browser; none without Playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        return []
    found = []
    with sync_playwright() as playwright:
        for _ in range(NUM_PAINTS):
            time.sleep(KEPT_S + 0.5)  # so that nothing is given from memory
            browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(url, wait_until="load")
            while not (painted := page.evaluate(PAINTED)):  # what waits in the page itself is forbidden there
                page.wait_for_timeout(20)
            found.append(painted / 1000)
            browser.close()
    return found


def main() -> None:
    """Make, serve, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, default=Size.rules)
    parser.add_argument("--campaigns", type=int, default=Size.campaigns)
    parser.add_argument("--keep", type=Path, help="where the ledger is left; one that is there is taken as it is")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = given.keep or Path(folder) / "made.db"
        if not file.exists():
            began = time.perf_counter()
            make(f"sqlite:///{file}", Size(given.rules, given.campaigns))
            print(f"made {given.rules:,} rules in {time.perf_counter() - began:.0f} s, {file.stat().st_size >> 20} MiB")
        with serving(file) as url:
            print(f"{'page':48} {'first':>8} {'again':>8} {'at once':>8}  (seconds; load {os.getloadavg()[0]:.1f})")
            for page in PAGES:
                first = seconds(url + page)
                time.sleep(KEPT_S + 0.1)
                print(f"{page:48} {first:8.3f} {seconds(url + page):8.3f} {seconds(url + page):8.3f}", flush=True)
            if painted := paints(f"{url}/leaderboard"):
                spread = f"{min(painted):.2f} to {max(painted):.2f} of {len(painted)}"
                print(f"first paint of the leaderboard: {statistics.median(painted):.2f} s ({spread})")


if __name__ == "__main__":
    main()
