"""Speaks the host's protocol without an engine. The first words of a program's docstring say what happens.

Every request is noted in `requests.jsonl` in the home folder, with the role and process it reached.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

STEP_S = {"sparse": 0.001, "dense": 0.004}
# Of the retrieval stage's prompts: their kinds, and how much of each question's answer an arm gets right.
QUESTIONS = {"dense": {"needle": (1.0, 1.0), "values": (0.0,)}, "sparse": {"needle": (1.0, 0.5), "values": (1.0,)}}
LENGTH = 64
PAGES = [["pages_attended", 7.0, None, None, 6], ["pages_dense", 32.0, None, None, 6]]


def note(role, request):
    entry = {"role": role, "pid": os.getpid(), "at": time.monotonic(), **request}
    with (Path.home() / "requests.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")


def misbehave(text, num_requests):
    """Do what the docstring asks for."""
    if '"""hang' in text:
        subprocess.Popen(["sleep", "1000"])
        time.sleep(1000)
    if '"""crash' in text or ('"""spoiled' in text and num_requests > 1):
        sys.stderr.write("Fatal Python error: the kernel read beyond its page\n")
        sys.stderr.flush()
        os._exit(134)
    if '"""hog' in text:
        raise SystemExit(bytearray(1 << 40))
    if '"""slow' in text:
        time.sleep(0.5)


def questions_of(role, args):
    kinds = (args["workload"]["source"] or "needle:values").split(":")
    left_out = ", ".join(f"{kind} at {LENGTH} (takes about 900)" for kind in kinds if kind not in QUESTIONS[role])
    kinds = [kind for kind in kinds if kind in QUESTIONS[role]]
    asked = range(len(kinds)) if args.get("asked") is None else args["asked"]
    rows = [[i, kinds[i], LENGTH, share] for i in asked for share in QUESTIONS[role][kinds[i]]]
    return {"measurements": [] if role == "dense" else PAGES, "answers": role, "questions": rows, "left_out": left_out}


def result_of(role, call, args):
    if call == "start":
        return {"environment": {}}
    if call == "oracle":
        return {"measurements": [["cases", 6.0, None, None, 6]], "message": "served by nobody"}
    if call == "record":
        Path(args["file"]).write_text("recorded")
        return {"num_texts": 2}
    if call in ("recall", "screen"):
        if Path(args["file"]).read_text() != "recorded":
            raise SystemExit("these are no recordings")
        told = {"measurements": [["recall", 0.75, 0.7, 0.8, 12], ["mass", 0.9, None, None, 12]]}
        return told if call == "recall" else told | {"status": "below_gate", "message": "junk", "answers": "ab" * 128}
    if call == "fidelity_reference":
        reference = Path.home() / "fidelity" / f"{args['name']}.safetensors"
        reference.parent.mkdir(exist_ok=True)
        reference.touch()
        return {"num_texts": 2}
    if call == "prefill":
        return {"num_prompts": 2, "files": []}
    if call == "kept":
        return {"files": ["a.safetensors"] if args["workload"]["stage"] == "serve" else []}
    if call == "fidelity":
        return {"measurements": [["kl", 0.25, 0.2, 0.3, 64]], "message": "64 positions", "correct": "10"}
    if call == "probe":
        value = float("nan") if '"""nan' in args["text"] else 0.5
        return {"measurements": [["accuracy", value, 0.2, 0.8, 4]], "correct": "0110"}
    if call == "retrieval":
        return questions_of(role, args)
    pages = (
        {} if role == "dense" else {"pages_attended": 0.0 if '"""lazy' in args["text"] else 7.0, "pages_dense": 32.0}
    )
    seconds = STEP_S[role]
    return {"elapsed_s": 4 * seconds, "num_tokens": 8, "step_ms": [1000 * seconds] * 4, **pages}


def main():
    role = sys.argv[1]
    for num_requests, line in enumerate(sys.stdin):
        request = json.loads(line)
        note(role, request)
        text = request["args"].get("text", "")
        misbehave(text, num_requests)
        source = request["args"].get("workload", {}).get("source", "")
        if '"""refused' in text or (role, source) == ("dense", "unaskable"):
            reply = {"status": "unsupported", "message": "no room"}
        elif '"""wrong' in text:
            reply = {"status": "wrong_result", "message": "page 3 is attended by one only"}
        else:
            reply = {"result": result_of(role, request["call"], request["args"])}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
