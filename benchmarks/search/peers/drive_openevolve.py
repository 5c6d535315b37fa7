"""OpenEvolve 0.4 on our problem. `evaluate` is what it loads from this file for each program."""

from pathlib import Path

from endpoint import ADDRESS, ask, given


def evaluate(program_path):
    """Give the metrics of one program."""
    return {"combined_score": ask("/evaluate", text=Path(program_path).read_text())["score"]}


def main():
    """Run it with its defaults, but for whole programs as answers and islands that start from different ones."""
    import os

    from openevolve import run_evolution
    from openevolve.config import Config, LLMModelConfig

    seed, num, folder, files = given()
    config = Config(random_seed=seed, language="python", diff_based_evolution=False, max_iterations=num)
    model = LLMModelConfig(name="mutations", api_base=os.environ[ADDRESS] + "/v1", api_key="none", timeout=300)
    model.retries, model.retry_delay, model.temperature, model.max_tokens = 1, 1, 0.7, 4096
    model.system_message = config.prompt.system_message
    config.llm.models = config.llm.evaluator_models = [model]
    islands = config.database.num_islands
    config.database.island_initial_programs = [None, *files[1:islands]]
    config.evaluator.parallel_evaluations = 1
    config.checkpoint_interval = num + 1
    run_evolution(files[0], __file__, config, iterations=num, output_dir=folder, cleanup=False)


if __name__ == "__main__":
    main()
