"""How a peer's process asks us; it runs in an environment that has the peer and nothing of ours."""

import json
import os
import sys
import urllib.request

ADDRESS = "SEARCH_BENCHMARK"  # the environment's variable that says where
TIMEOUT_S = 300


def ask(path, **question):
    """Post a question and give the answer."""
    request = urllib.request.Request(
        os.environ[ADDRESS] + path, json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        return json.load(answer)


def given():
    """Give what a driver is started with: the seed, the number of evaluations, a folder, and files of programs."""
    seed, num, folder, *files = sys.argv[1:]
    return int(seed), int(num), folder, files
