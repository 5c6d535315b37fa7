"""Parse lines that start vLLM's server, as it would, and print what they say: `parse_serving.py LINES.json`."""

import json
import sys
from pathlib import Path

from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = make_arg_parser(FlexibleArgumentParser())
found = []
for words in json.loads(Path(sys.argv[1]).read_text()):
    given = parser.parse_args(words)
    validate_parsed_serve_args(given)
    backend = getattr(given.attention_backend, "name", given.attention_backend)
    found.append({"backend": backend, "additional": given.additional_config or {}})
print(json.dumps(found))
