"""A small trained model that needs its context, and the tasks that show it. Light: importing it loads no library."""

from pathlib import Path

MODEL_FOLDER = Path(__file__).parent / "model"  # weights, configuration and tokenizer, as vLLM reads them

__all__ = ["MODEL_FOLDER"]
