"""An engine's host without an engine: answers by its protocol, with figures drawn from a program's text.

`PAUSE_S` is what each answer about a program takes. The first word of a program's docstring may be how it misbehaves.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

PAUSE_S = 0.25
STEP_S = {"sparse": 0.001, "dense": 0.004}
ABOUT_PROGRAMS = ("oracle", "screen", "recall", "probe", "serve_round")
TIMED = ("serve_round", "oracle")  # are asked often, and take less


def chance(*parts: str) -> float:
    """Draw a number from 0 to 1."""
    return int(hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12], 16) / 16**12


def misbehave(text: str) -> None:
    """Do what the docstring says."""
    if '"""crash' in text:
        sys.stderr.write("Fatal Python error: the kernel read beyond its page\n")
        sys.stderr.flush()
        os._exit(134)
    if '"""hang' in text:
        time.sleep(1000)
    if '"""hog' in text:
        raise SystemExit(bytearray(1 << 40))


def result_of(role: str, call: str, args: dict) -> dict:
    """Answer one call."""
    text = args.get("text", "")
    if call == "start":
        return {"environment": {}}
    if call == "oracle":
        return {"measurements": [["cases", 6.0, None, None, 6]], "message": "served by nobody"}
    if call == "record":
        Path(args["file"]).write_text("recorded")
        return {"num_texts": 2}
    if call in ("prefill", "kept"):
        return {"num_prompts": 2, "files": []}
    if call in ("screen", "recall"):
        kept = chance("kept", text)
        told = {"recall": kept, "mass": 0.2 + kept, "random_mass": 0.1}
        return {"measurements": [[name, value, None, None, 12] for name, value in told.items()]}
    if call == "probe":
        value = chance("accuracy", text)
        return {"measurements": [["accuracy", value, 0.9 * value, value, 4]], "correct": "01"}
    pages = {} if role == "dense" else {"pages_attended": 7.0, "pages_dense": 32.0}
    seconds = STEP_S[role] * (1.0 if role == "dense" else 0.5 + chance("speed", text))
    return {"elapsed_s": 4 * seconds, "num_tokens": 8, "step_ms": [1000 * seconds] * 4, **pages}


def main() -> None:
    """Serve requests from stdin, and note each about a program in the home folder."""
    role = sys.argv[1]
    for line in sys.stdin:
        request = json.loads(line)
        call, text = request["call"], request["args"].get("text", "")
        if text and call in ABOUT_PROGRAMS:
            with (Path.home() / "asked").open("a") as file:
                file.write(f"{call} {hashlib.sha256(text.encode()).hexdigest()}\n")
            misbehave(text)
            time.sleep(PAUSE_S / (5 if call in TIMED else 1))
        print(json.dumps({"result": result_of(role, call, request["args"])}), flush=True)


if __name__ == "__main__":
    main()
