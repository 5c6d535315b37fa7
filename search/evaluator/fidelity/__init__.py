"""The fidelity stage: dense and sparse decode the same text, and are compared token by token.

How much text it takes, measured on SmolLM2 (15 texts of 3,000 to 4,000 tokens, 32 counted positions each; centroid,
quest and two_stage with 8 and 16 chosen pages): means of texts stray by .4-.5 of their mean for two_stage and for all
rules on prose (.3-.6), by 1.0-1.2 for centroid and quest where one continuation of the model's own lay far out. So 24
texts give half-widths of about 20 % and 42 of about 15 %, more where a text is an outlier. Fewer positions do not pay:
pieces of 8 positions stray by .7-1.7, and a text more costs its prefill, a position more some milliseconds.
"""
