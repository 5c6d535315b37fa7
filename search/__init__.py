"""The search: proposers, an evaluator, a ledger and the loop that joins them; and the command line."""
