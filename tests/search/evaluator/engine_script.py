"""One engine on a model, asked through its host: `engine_script.py MODEL` prints what came of it as JSON.

Run as a script, so that it has an interpreter and a vLLM of its own.
"""

import json
import sys

from search.evaluator.engine import EngineError
from search.evaluator.session import Session
from search.evaluator.speed.hosted import serve_round
from vortex_dsl import zoo

TEXT = "The harbour had been quiet, and 43 ships came; Grüße."
MAX_TOKENS = 512
COVERING, SPARSE = [["pages", 64], ["dense_layers", 0]], [["pages", 2], ["dense_layers", 0]]
SERVED = {"stage": "serve", "num_tokens": 300, "num_sequences": 3}


def main() -> None:
    session = Session("sparse")
    session.start(model=sys.argv[1], max_tokens=MAX_TOKENS, kv_cache_bytes=64 << 20)
    engine = session.engine
    prompt, bare = engine.encode([TEXT], whole=True)[0], engine.encode([TEXT])[0]
    engine.swap(zoo.text("centroid"), tuple(map(tuple, COVERING)))
    found = {
        "prompt": prompt,
        "bare": bare,
        "text": engine.text(prompt),
        "words": engine.decode(bare[:3]),
        "covering": engine.generate([prompt * 9], 16).tokens[0],
        "round": serve_round(session, zoo.text("centroid"), SPARSE, SERVED, seed=1, num_tokens=9),
    }
    try:
        engine.generate([(bare * 20)[:500]], 13)
    except EngineError as error:
        found["refusal"] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
