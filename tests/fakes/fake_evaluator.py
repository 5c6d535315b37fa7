"""An evaluator that draws its numbers from the program's digest: no engine, no GPU, any number of workers."""

import hashlib
import random
import time

from search.records import Environment, Evaluation, Measurement, Stage, Status

ENVIRONMENT = Environment("test device", "none", "3.11", "2.13", "0.32")
FAILURES = (
    Status.UNSUPPORTED,
    Status.WRONG_RESULT,
    Status.NOT_SPARSE,
    Status.CRASHED,
    Status.TIMED_OUT,
    Status.OUT_OF_MEMORY,
)


def chance(*parts):
    """A number in [0, 1) that depends on the parts alone."""
    text = " ".join(map(str, parts))
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12


class FakeEvaluator:
    """Finishes what is submitted in an order that depends on its number of workers and on luck."""

    environment = ENVIRONMENT
    model_digest = "model"
    version = "1"

    def __init__(self, num_workers=1, failure_rate=0.1, shuffle=0, crash_after=None, infrastructure=0.0):
        self.num_workers = num_workers
        self.tasks = []
        self._failure_rate, self._infrastructure = failure_rate, infrastructure
        self._luck = random.Random(shuffle)
        self._queue = []
        self._crash_after = crash_after

    def submit(self, task):
        self.tasks.append(task)
        self._queue.append(task)

    def completed(self, timeout_s):
        if not self._queue:
            time.sleep(min(timeout_s, 0.001))
            return []
        done = []
        for _ in range(self._luck.randint(0, min(self.num_workers, len(self._queue)))):
            at = self._luck.randrange(min(self.num_workers, len(self._queue)))
            done.append(self._run(self._queue.pop(at)))
        return done

    def running(self):
        return [task.key for task in self._queue[: self.num_workers]]

    def close(self):
        self._queue.clear()

    def _run(self, task):
        if self._crash_after is not None and len(self.tasks) > self._crash_after:
            raise RuntimeError("the driver was killed")
        attempt = sum(t.key == task.key for t in self.tasks)
        if chance("ours", task.key, attempt) < self._infrastructure:
            return Evaluation(task.key, Status.INFRASTRUCTURE, "a worker was lost")
        draw = chance("status", task.key.program_digest, task.key.stage)
        if draw < self._failure_rate:
            return Evaluation(task.key, FAILURES[int(draw / self._failure_rate * len(FAILURES))], "made to fail")
        return Evaluation(task.key, Status.OK, measurements=self._measurements(task), elapsed_s=self._luck.random())

    def _measurements(self, task):
        digest, stage = task.key.program_digest, task.key.stage
        if stage is Stage.RECALL:
            kept = chance("mass", digest)
            told = {"mass": 0.2 + kept, "random_mass": 0.3, "recall": kept}
            return tuple(Measurement(name, value) for name, value in told.items())
        if stage is Stage.FIDELITY:
            kl = 0.02 + chance("kl", digest, task.workload.split)
            read = Measurement("pages_attended", 30.0), Measurement("pages_dense", 240.0)
            return (Measurement("kl", kl, 0.9 * kl, 1.1 * kl), *read)
        if stage is Stage.RETRIEVAL:
            return (Measurement("accuracy", chance("retrieval", digest)), Measurement("loss", 0.1))
        if stage is Stage.PROBE:
            return (Measurement("accuracy", chance("accuracy", digest, task.key.seed)),)
        if stage is Stage.SERVE:
            return (Measurement("speedup", 0.5 + chance("speedup", digest)),)
        return ()
