"""A program as a tape, and the machine that runs it on a CPU over pages in memory."""
