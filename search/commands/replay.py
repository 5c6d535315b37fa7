"""`vortex replay`: a campaign decided once more from its record."""

from __future__ import annotations

from search.commands import options
from search.commands.database import campaign_of, existing
from search.commands.exits import ExitCode
from search.commands.output import print_data, print_json


def replay(
    campaign: options.CampaignArgument = None,
    db: options.Database = options.DATABASE_URL,
    as_json: options.Json = False,
) -> int:
    """Decide every step of a campaign once more from its record, and compare: exit code 1 where one differs."""
    from search.campaigns.replay import replay as replayed

    with existing(db) as ledger:
        found = replayed(ledger, campaign_of(ledger, campaign))
    if as_json:
        print_json(found)
        return ExitCode.REFUSED if found.difference else ExitCode.DONE
    if found.difference:
        print_data(f"campaign {found.campaign} differs first at step {found.step}: {found.difference}")
        return ExitCode.REFUSED
    lines = [
        f"campaign {found.campaign}: all {found.num_steps:,} steps and {found.num_evaluations:,} evaluations again"
    ]
    lines += [f"asked again: {', '.join(found.asked_again)}"] if found.asked_again else []
    lines += [f"taken from the record, nobody to ask: {', '.join(found.from_record)}"] if found.from_record else []
    lines += [_late(step, until) for step, until in found.late]
    lines += [f"not on record, as it was interrupted: {found.num_absent:,} evaluations"] if found.num_absent else []
    print_data("\n".join(lines))
    return ExitCode.DONE


def _late(step: int, until: int) -> str:
    return f"step {step} was measured to its end only when the campaign was resumed: known from step {until} on"
