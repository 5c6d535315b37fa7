"""The serve stage: throughput beside dense attention, in rounds that alternate."""
