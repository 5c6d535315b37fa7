"""Machines of several kinds in one campaign: one decides what is searched, the others measure what it has timed."""
