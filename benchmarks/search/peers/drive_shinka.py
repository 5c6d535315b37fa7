"""ShinkaEvolve 0.0.7 on our problem. Called with options it is the script that judges one program."""

import json
import os
import sys
from pathlib import Path

from endpoint import ADDRESS, ask, given

BEGIN, END = "# EVOLVE-BLOCK-START", "# EVOLVE-BLOCK-END"  # it changes only what stands between


def judge(options):
    """Write the metrics of one program where its runner looks for them."""
    asked = dict(zip(options[::2], options[1::2], strict=True))
    lines = Path(asked["--program_path"]).read_text().splitlines()
    answer = ask("/evaluate", text="\n".join(line for line in lines if line not in (BEGIN, END)).strip() + "\n")
    found = {"combined_score": answer["score"], "public": {}, "private": {}}
    right = {"correct": not answer["message"], "error": answer["message"] or None}
    for name, told in (("metrics", found), ("correct", right)):
        Path(asked["--results_dir"], f"{name}.json").write_text(json.dumps(told))


def main():
    """Run it with its defaults, but for whole programs as answers and no service of others."""
    import random

    import numpy as np
    from shinka.core import EvolutionConfig, ShinkaEvolveRunner
    from shinka.database import DatabaseConfig
    from shinka.launch import LocalJobConfig

    seed, num, folder, files = given()
    random.seed(seed)
    np.random.seed(seed)
    initial = Path(folder, "initial.py")
    initial.write_text(f"{BEGIN}\n{Path(files[0]).read_text()}\n{END}\n")
    evolution = EvolutionConfig(
        patch_types=["full"],
        patch_type_probs=[1.0],
        num_generations=num + 1,  # the first is what it starts from
        llm_models=[f"local/mutations@{os.environ[ADDRESS]}/v1"],
        llm_dynamic_selection=None,
        meta_rec_interval=None,
        embedding_model=None,
        init_program_path=str(initial),
        results_dir=folder,
    )
    runner = ShinkaEvolveRunner(
        evolution,
        LocalJobConfig(eval_program_path=__file__, python_executable=sys.executable),
        DatabaseConfig(db_path="programs.sqlite"),
        verbose=False,
        max_evaluation_jobs=1,
        max_proposal_jobs=1,
    )
    runner.run()


if __name__ == "__main__":
    judge(sys.argv[1:]) if sys.argv[1].startswith("--") else main()
