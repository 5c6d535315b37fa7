"""GEPA 0.1.4 on our problem. Its examples are the layers, of which it keeps the best programs each."""

from pathlib import Path

from endpoint import ask, given

NAME = "program"


class Adapter:
    """What GEPA asks of a system: scores by layer, and what might help whoever proposes."""

    left = 1

    def evaluate(self, batch, candidate, capture_traces=False):
        """Score a program on some layers."""
        from gepa.core.adapter import EvaluationBatch

        answer = ask("/evaluate", text=candidate[NAME])
        self.left = answer["left"]
        scores = [answer["layers"].get(layer, 0.0) for layer in batch]
        return EvaluationBatch(scores, scores, scores if capture_traces else None)

    def make_reflective_dataset(self, candidate, eval_batch, components_to_update):  # noqa: ARG002
        """Tell the scores; our mutations do not read them."""
        return {NAME: [{"Feedback": str(score)} for score in eval_batch.scores]}

    def propose_new_texts(self, candidate, reflective_dataset, components_to_update):  # noqa: ARG002
        """Let our mutations change the program."""
        return {NAME: ask("/mutate", text=candidate[NAME], others=[])["text"]}


def main():
    """Run it with its defaults until no evaluation is left."""
    import gepa

    seed, _, folder, files = given()
    adapter, first = Adapter(), Path(files[0]).read_text()
    layers = sorted(ask("/evaluate", text=first)["layers"])
    gepa.optimize(
        {NAME: first},
        layers,
        adapter=adapter,
        seed=seed,
        run_dir=folder,
        stop_callbacks=lambda _: adapter.left <= 0,
    )


if __name__ == "__main__":
    main()
