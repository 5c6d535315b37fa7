"""Train the probe model: `python -m search.evaluator.probe.train`, about fifteen minutes on one CPU core.

The context grows when the model answers 95 % of the hops: a circuit that works at 128 tokens is refined, never searched
for, at 2,048. In the end lengths are drawn, so that the model is not bound to one. Writes weights, configuration and
tokenizer into the model folder.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from search.evaluator.probe import MODEL_FOLDER
from search.evaluator.probe.batches import draw_sequence
from search.evaluator.probe.initialise import make_model
from search.evaluator.probe.tokenizer import make_tokenizer

if TYPE_CHECKING:
    from transformers import Qwen2ForCausalLM

log = logging.getLogger(__name__)

WARM_UP_STEPS = 50
NEXT_AT = 0.95
MAX_NORM = 1.0


@dataclass(frozen=True)
class Lesson:
    """One length of the curriculum: `batch` sequences of `num_tokens` tokens a step, at most `max_steps` steps."""

    num_tokens: int
    batch: int
    learning_rate: float
    max_steps: int = 200


CURRICULUM = (Lesson(128, 16, 2e-3), Lesson(256, 8, 2e-3), Lesson(512, 4, 1e-3), Lesson(1024, 2, 1e-3))
# Of these one is drawn each step.
FINAL = (Lesson(512, 8, 1e-3), Lesson(1024, 4, 1e-3), Lesson(2048, 2, 1e-3), Lesson(2048, 2, 1e-3))
FINAL_STEPS = 700


def main(arguments: list[str] | None = None) -> None:
    """Train from the command line and save."""
    parser = argparse.ArgumentParser(prog="python -m search.evaluator.probe.train", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--final-steps", type=int, default=FINAL_STEPS)
    parser.add_argument("-o", "--output", type=Path, default=MODEL_FOLDER)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    model = Trainer(options.seed).train(options.final_steps)
    model.save_pretrained(options.output)
    make_tokenizer().save_pretrained(options.output)


class Trainer:
    """A model in training, its optimizer, and the stream of sequences. Deterministic in the seed on one machine."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"train/{seed}")
        self.model = make_model(seed)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
        self.num_steps = 0
        self.began = time.perf_counter()

    def train(self, final_steps: int) -> Qwen2ForCausalLM:
        """Go through the curriculum, then through the last lesson with a rate that falls over its second half."""
        for lesson in CURRICULUM:
            self._run_until_learned(lesson)
        for step in range(final_steps):
            lesson = self.rng.choice(FINAL)
            remaining = (final_steps - step) / (final_steps / 2)
            loss, right = self._step(lesson, lesson.learning_rate * min(1.0, remaining))
            if step % 10 == 0:
                self._log(lesson, loss, right)
        return self.model

    def _run_until_learned(self, lesson: Lesson) -> None:
        """Train at one length until the running mean of right hops reaches 95 %."""
        mean = 0.0
        for step in range(lesson.max_steps):
            loss, right = self._step(lesson, lesson.learning_rate)
            mean += 0.1 * (right - mean)
            if step % 50 == 0 or mean >= NEXT_AT:
                self._log(lesson, loss, mean)
            if mean >= NEXT_AT:
                return
        log.warning("length %d: %d steps reached only %.3f", lesson.num_tokens, lesson.max_steps, mean)

    def _step(self, lesson: Lesson, learning_rate: float) -> tuple[float, float]:
        """Take one step and give its loss and its share of right hops."""
        self.num_steps += 1
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, self.num_steps / WARM_UP_STEPS)
        loss, right = hop_loss(self.model, *self._batch(lesson))
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_NORM)
        self.optimizer.step()
        return loss.item(), right

    def _batch(self, lesson: Lesson) -> tuple[torch.Tensor, torch.Tensor]:
        sequences = [draw_sequence(self.rng, lesson.num_tokens) for _ in range(lesson.batch)]
        ids, is_hop = zip(*sequences, strict=True)
        return torch.tensor(ids), torch.tensor(is_hop)

    def _log(self, lesson: Lesson, loss: float, right: float) -> None:
        elapsed_s = time.perf_counter() - self.began
        log.info("%6.0f s  length %4d  step %4d  loss %.4f  right %.3f",
                 elapsed_s, lesson.num_tokens, self.num_steps, loss, right)  # fmt: skip


def hop_loss(model: Qwen2ForCausalLM, ids: torch.Tensor, is_hop: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Give the cross-entropy over the hops alone, and the share of them that is right.

    ids, is_hop: [sequence, token]. A hop is predicted from the token before it.
    """
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[is_hop[:, 1:]])
    targets = ids[:, 1:][is_hop[:, 1:]]
    right = (logits.argmax(-1) == targets).float().mean().item()
    return torch.nn.functional.cross_entropy(logits, targets), right


if __name__ == "__main__":
    main()
