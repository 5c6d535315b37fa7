"""Parse lines that start vLLM's server or time it, as vLLM would, and print what they say: `parse_serving.py FILE`."""

import json
import sys
from pathlib import Path

from vllm.benchmarks.serve import add_cli_args
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser

timing = FlexibleArgumentParser()
add_cli_args(timing)
parser = make_arg_parser(FlexibleArgumentParser())
found = []
for words in json.loads(Path(sys.argv[1]).read_text()):
    if words[:2] == ["bench", "serve"]:
        timing.parse_args(words[2:])
        continue
    given = parser.parse_args(words)
    validate_parsed_serve_args(given)
    backend = getattr(given.attention_backend, "name", given.attention_backend)
    found.append({"backend": backend, "additional": given.additional_config or {}})
print(json.dumps(found))
