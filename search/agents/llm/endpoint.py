"""Where a language model is asked: any OpenAI-compatible endpoint."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """Where to ask and what it costs: dollars per million tokens. `base_url` is OpenAI's own when empty.

    The key is read from the environment variable `api_key_env`, and from nowhere else.
    """

    model: str
    base_url: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    prompt_price: float = 0.0
    completion_price: float = 0.0
    timeout_s: float = 120.0
    max_retries: int = 4

    def dollars(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Give what a request cost."""
        return (prompt_tokens * self.prompt_price + completion_tokens * self.completion_price) / 1e6
