"""lm-eval as we use it: tasks that sparse decode answers, a model that only generates, and no advice on our log."""

from __future__ import annotations

import logging
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lm_eval.api.model import LM

    Generate = Callable[[list[Any]], list[Any]]  # lm-eval's requests -> an answer to each

DECODED_OUTPUT = "generate_until"


class UnscorableTaskError(ValueError):
    """A task whose answers dense prefill gives, so that it says nothing about sparse decode."""


def evaluate(model: LM, tasks: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Run lm-eval over tasks that sparse decode answers. Raises UnscorableTaskError naming any other.

    options: of `lm_eval.evaluator.evaluate`.
    """
    from lm_eval.evaluator import evaluate as evaluate_tasks

    for name, task in tasks.items():
        refuse_prefill_only(name, task.OUTPUT_TYPE)
    with quiet():
        report = evaluate_tasks(model, {"tasks": tasks}, bootstrap_iters=0, log_samples=True, **options)
    assert report is not None  # it is None on other ranks of a distributed run, and we have one
    return dict(report)


def refuse_prefill_only(name: str, output_type: str) -> None:
    """Raise UnscorableTaskError unless a task's answers are decoded token by token."""
    if output_type != DECODED_OUTPUT:
        raise UnscorableTaskError(
            f"task {name!r} has output_type {output_type!r}, which prefill alone answers, and prefill is dense "
            f"whatever the program: choose a task with output_type {DECODED_OUTPUT!r}"
        )


def generating_model(generate: Generate, tokenizer: Any = None) -> LM:
    """Give an lm-eval model around `generate`, with a tokenizer's chat template. It has no likelihoods to give."""
    from lm_eval.api.model import LM

    class GeneratingModel(LM):
        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:  # noqa: ARG002
            answers = generate(requests)
            if len(answers) != len(requests):
                raise ValueError(
                    f"generate answered {len(answers)} of {len(requests)} prompts: it must answer each one"
                )
            return answers

        def loglikelihood(self, requests: list[Any]) -> list[Any]:
            raise UnscorableTaskError(f"{len(requests)} requests for log-likelihoods, which prefill alone answers")

        def loglikelihood_rolling(self, requests: list[Any]) -> list[Any]:
            return self.loglikelihood(requests)

        @property
        def tokenizer_name(self) -> str:
            return str(getattr(tokenizer, "name_or_path", ""))

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            goes_on = not add_generation_prompt
            text = tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=goes_on,
            )
            return str(text)

    return GeneratingModel()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep lm-eval's advice on configuration, given anew for each task, and its progress bars off our log."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        logger.setLevel(level)
