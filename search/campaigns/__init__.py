"""Campaigns as people ask for them: files, settings, machines, forecast, when they stop, replay, and the Python API."""
