"""Defaults and bounds that options and campaign files share. Light: the command line reads them at its start."""

DATABASE_URL = "sqlite:///results.db"
LARGEST = 2**63 - 1  # what a database keeps as a whole number
LEAST_TOKENS = 256  # below, a text is a handful of pages
MAX_WORKERS = 1024  # each is a process with an engine
MAX_LAG = 16384  # steps that none of each other know
MAX_SEED_PROGRAMS = 64
MAX_ROUND = 64  # turns of proposers before they begin again
MAX_TURNS = 16  # exchanges with a language model in one step
SIMPLIFY_TRIALS, MAX_TRIALS = 30, 1024  # for a leader: few have more parts
MAX_SECONDS = 1e9  # thirty years
MAX_OUTAGE_S = 600.0  # of a database, unless a campaign says otherwise
MAX_DOLLARS = 1e9
