"""The oracle stage: what serves gives what the language means."""
