"""The recall stage: what a choice of pages keeps of dense attention, on recorded queries, keys and values."""
