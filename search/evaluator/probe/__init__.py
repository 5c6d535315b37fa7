"""A small trained model that needs its context, and the tasks that show it. Light: importing it loads no library."""

from pathlib import Path

PROBE = "probe"  # what the small trained model is called
MODEL_FOLDER = Path(__file__).parent / "model"  # weights, configuration and tokenizer, as vLLM reads them

__all__ = ["MODEL_FOLDER", "PROBE"]
