"""The fake host of the evaluator's tests, named first, with every answer to a problem half a second late."""

import importlib.util
import sys
import time

_spec = importlib.util.spec_from_file_location("fake_host", sys.argv[1])
fake_host = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_host)
answered = fake_host.result_of


def result_of(role, call, args):
    time.sleep(0.5 if call == "probe" else 0.0)
    return answered(role, call, args)


fake_host.result_of = result_of
sys.argv[1:] = sys.argv[2:]
fake_host.main()
