"""What was asked of language models and is not paid by a candidate on record."""
