"""A looker that tells scripted figures, by the name of the program."""

from search.contracts import LookError
from search.records import Measurement
from vortex_dsl import load_program


class Scripted:
    """Gives every layer and kind of text a mass by the program's name; the best pages hold .95 everywhere."""

    def __init__(self, masses, kinds=("prose",), otherwise=None):
        self._masses, self._kinds, self._otherwise = masses, kinds, otherwise
        self.asked = []

    def look(self, text, values):
        name = load_program(text).name
        self.asked.append((name, values))
        mass = self._masses.get(name, self._otherwise)
        if mass is None:
            raise LookError(f"nobody knows {name}")
        kept = {"mass": mass, "mass_layer_0": mass, "mass_layer_1": mass - 0.1}
        kept |= {f"mass_kind_{kind}": mass for kind in self._kinds}
        best = {name.replace("mass", "oracle_mass", 1): 0.95 for name in kept}
        return tuple(Measurement(*pair) for pair in (kept | best | {"random_mass": 0.2}).items())

    def statistics(self):
        raise LookError("nothing is described")

    def close(self):
        pass
