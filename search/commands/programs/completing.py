"""What a shell may complete: names of published rules, models and fields. Light: it runs at each press of Tab."""

from __future__ import annotations


def of_rules(incomplete: str) -> list[str]:
    """Give the published rules whose names begin so."""
    from vortex_dsl.zoo import names

    return [name for name in names() if name.startswith(incomplete)]


def of_fields(incomplete: str) -> list[str]:
    """Give the fields of a row of the leaderboard whose names begin so, a minus before them kept."""
    from search.ranking.conditions import KINDS

    sign = incomplete[:1] if incomplete.startswith("-") else ""
    return [f"{sign}{name}" for name in sorted(KINDS) if name.startswith(incomplete.removeprefix("-"))]


def of_devices(incomplete: str) -> list[str]:
    """Give the devices whose times can be told."""
    from vortex_dsl.analysis.devices import DEVICES

    return [name for name in (*DEVICES, "cpu") if name.lower().startswith(incomplete.lower())]
