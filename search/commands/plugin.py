"""`vortex export` and `vortex verify`: a program leaves as a plugin for vLLM."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.commands import options
from search.commands.database import campaign_of, existing
from search.commands.exits import CommandError, ExitCode
from search.commands.output import print_json, print_line
from search.commands.programs.named import CandidateName, candidate_named
from search.commands.watching.ending import endable
from vortex_dsl.errors import quoted

if TYPE_CHECKING:
    from search.plugin.verify import Verification
    from search.plugin.wheel import Wheel as ReadWheel
    from search.records import Record

Folder = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", parser=options.path, help="Where the wheel goes.")
]
Wheels = Annotated[
    list[Path], typer.Argument(metavar="WHEEL", parser=options.path, help="Wheels that `vortex export` wrote.")
]
TextFile = Annotated[
    Path | None,
    typer.Option(
        "--text", metavar="FILE", parser=options.path, help="The text that it was judged on, where that was a file."
    ),
]
Ratio = Annotated[
    float | None,
    typer.Option(
        "--ratio", metavar="R", min=0.0, help="The cost ratio; the lowest at which it was timed when left out."
    ),
]
Served = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="FOLDER_OR_NAME",
        help="The model that it was measured on: a folder or a hub name; smollm2 and probe need not be named.",
    ),
]


def export(
    name: CandidateName,
    output: Folder = Path("dist"),
    db: options.Database = options.DATABASE_URL,
    ratio: Ratio = None,
    as_json: options.Json = False,
) -> None:
    """Build a pip-installable vLLM plugin from an evaluated candidate, as it was measured at one cost ratio."""
    from search.campaigns.saying import said
    from search.config import CampaignConfig
    from search.fit import at_ratio
    from search.plugin.card import Circumstances, answered
    from search.plugin.export import export_wheel

    with existing(db) as ledger:
        record = candidate_named(ledger, name)
        by = answered(record, ratio)
        if by is None:
            raise CommandError(_unanswered(record, ratio), ExitCode.REFUSED)
        record = at_ratio(record.at(by.key.place), by.ratio)
        campaign = campaign_of(ledger, record.candidate.campaign_id)
        workloads = {digest: ledger.workload(digest) for digest in {e.key.workload_digest for e in record.evaluations}}
        circumstances = Circumstances(
            workloads[by.key.workload_digest],
            campaign.model,
            ledger.environment(by.key.environment_digest),
            CampaignConfig.from_json(campaign.settings).terms,
            workloads,
        )
    with endable(), said("building the wheel", at_once=False):
        wheel = export_wheel(record, circumstances, output)
    if as_json:
        print_json({"wheel": str(wheel), "id": record.candidate.id, "digest": record.candidate.program_digest})
    else:
        print_line(str(wheel))


def verify(wheels: Wheels, model: Served = "", text: TextFile = None, as_json: options.Json = False) -> int:
    """Install each wheel beside vLLM, run its check in a sandbox, and compare its answers with the recorded ones."""
    from search.campaigns.machines import folder_and_name
    from search.plugin.verify import read_wheel

    for wheel in wheels:
        if not wheel.is_file():
            raise CommandError(f"there is no wheel {wheel}; `vortex export ID -o DIR` writes one")
    read = [read_wheel(wheel) for wheel in wheels]
    asked = [(each, folder_and_name(model or _own_model(each))[0]) for each in read]
    if text is not None:
        _keep(text)
    found = [_verified(each, folder, as_json=as_json) for each, folder in asked]
    if as_json:
        print_json([asdict(each) for each in found])
    return ExitCode.DONE if all(each.same for each in found) else ExitCode.REFUSED


def _verified(wheel: ReadWheel, folder: Path, *, as_json: bool) -> Verification:
    """Verify one wheel, and print what was found unless all is printed in the end."""
    from search.campaigns.saying import said
    from search.plugin.verify import verify_wheel

    with endable(), said(f"serving with {wheel.file_name} in a fresh environment, which takes about two minutes"):
        found = verify_wheel(wheel, folder)
    for line in () if as_json else (*found.findings, _told(found)):
        print_line(line)
    return found


def _unanswered(record: Record, ratio: float | None) -> str:
    """Say why there is nothing to promise of a candidate, and at which cost ratios there is."""
    from search.plugin.card import answered
    from search.records import Status

    said = f"candidate {record.candidate.id} gave no answers in an engine that a wheel could be verified by"
    others = sorted({each.ratio for each in record.evaluations if answered(record, each.ratio)})
    if others and ratio is not None:
        named = " or ".join(f"--ratio {each:g}" for each in others)
        return f"{said} at a cost ratio of {ratio:g}; give {named}"
    ended = "" if record.status is Status.OK else f" ({record.status})"
    return f"{said}{ended}; export one that did, as `vortex leaderboard --where 'speedup > 0'` lists them"


def _own_model(wheel: ReadWheel) -> str:
    """Give the model of ours that a wheel was measured on; a name of others leads wherever its author likes."""
    from search.evaluator.models import is_own

    if not is_own(wheel.card.model):
        raise CommandError(
            f"{wheel.name} was measured on {quoted(wheel.card.model, 200)}; name that model's folder, or its name on "
            "the hub, with --model"
        )
    return wheel.card.model


def _keep(text: Path) -> None:
    """Put a text where prompts are cut from it."""
    from search.campaigns.machines import scratch
    from search.evaluator.fidelity.given import TextError, keep_text, read_text

    try:
        keep_text(read_text(text), scratch())
    except TextError as error:
        raise CommandError(str(error)) from None


def _told(found: Verification) -> str:
    outcome = "gives the recorded answers" if found.same else "does NOT give the recorded answers"
    told = f"{found.name} ({found.digest}) {outcome} on {found.num_prompts} prompts"
    return f"{told}, says code that is not this project's" if found.strange_files else told
