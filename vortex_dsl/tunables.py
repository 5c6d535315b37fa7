"""What a program declares in its class: numbers that may be tuned, and states."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from vortex_dsl.errors import did_you_mean, listed, quoted
from vortex_dsl.values import LARGEST

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = int | float | str


MAX_OPTION = 64  # characters of an option that is a string


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def _shown(value: Value) -> str:
    return quoted(value) if isinstance(value, str) or abs(value) > LARGEST else repr(value)


def _check_range(tunable: Int | Float) -> None:
    if tunable.low > tunable.high:
        raise ValueError(f"low {tunable.low} is above high {tunable.high}; swap them")
    if not isinstance(tunable.log, bool):
        raise ValueError(f"log is {quoted(tunable.log)}; say log=True or log=False")
    if not isinstance(tunable.budget, bool):
        raise ValueError(f"budget is {quoted(tunable.budget)}; say budget=True or budget=False")
    if tunable.log and tunable.low <= 0:
        raise ValueError(f"log=True, but low is {tunable.low}; give a low above 0")
    tunable.accept(tunable.default)


@dataclass(frozen=True)
class Int:
    """A whole number between low and high, both included; `log` says to search it on a logarithmic scale.

    `budget` says that it decides how much is read: the platform fits it where programs are compared at equal cost.
    """

    default: int
    low: int
    high: int
    log: bool = False
    budget: bool = False

    def __post_init__(self) -> None:
        for name in ("default", "low", "high"):
            value = getattr(self, name)
            if not _is_number(value) or not isinstance(value, int):
                raise ValueError(f"{name} of Int is {quoted(value)}; give a whole number up to 2**31")
        _check_range(self)

    def accept(self, value: object) -> int:
        """Give the value if it lies in the range; ValueError with a sentence if not."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{quoted(value)} is not a whole number; give one from {self.low} to {self.high}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{_shown(value)} is out of range; give a whole number from {self.low} to {self.high}")
        return value

    def covers(self, other: object) -> bool:
        """Say whether other is of this kind and its range lies within this one."""
        return isinstance(other, Int) and self.low <= other.low and other.high <= self.high

    def __str__(self) -> str:
        return f"Int({self.default}, {self.low}, {self.high})"


@dataclass(frozen=True)
class Float:
    """A number between low and high, both included; `log` says to search it on a logarithmic scale.

    `budget` as that of `Int`.
    """

    default: float
    low: float
    high: float
    log: bool = False
    budget: bool = False

    def __post_init__(self) -> None:
        for name in ("default", "low", "high"):
            value = getattr(self, name)
            if not _is_number(value):
                raise ValueError(f"{name} of Float is {quoted(value)}; give a number up to 2**31")
            object.__setattr__(self, name, float(value) + 0.0)
        _check_range(self)

    def accept(self, value: object) -> float:
        """Give the value as a float if it lies in the range; ValueError with a sentence if not."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{quoted(value)} is not a number; give one from {self.low} to {self.high}")
        if not self.low <= value <= self.high:  # so is NaN
            raise ValueError(f"{_shown(value)} is out of range; give a number from {self.low} to {self.high}")
        return float(value) + 0.0  # -0.0 equals 0.0, so it has to mean the same

    def covers(self, other: object) -> bool:
        """Say whether other is of this kind and its range lies within this one."""
        return isinstance(other, Float) and self.low <= other.low and other.high <= self.high

    def __str__(self) -> str:
        return f"Float({self.default}, {self.low}, {self.high})"


@dataclass(frozen=True)
class Choice:
    """One of a few numbers or strings."""

    default: Value
    options: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.options, tuple | list) or not self.options:
            raise ValueError("options of Choice are missing; give a list such as (16, 32)")
        for option in self.options:
            if not isinstance(option, str | bool) and not _is_number(option):
                raise ValueError(f"{quoted(option)} is no option of a Choice; give numbers or strings")
            if isinstance(option, str) and not (option.isprintable() and len(option) <= MAX_OPTION):
                raise ValueError(f"{quoted(option)} is no option; give at most {MAX_OPTION} printable characters")
        if len(set(self.options)) < len(self.options):
            raise ValueError("Choice has an option twice; give each once")
        object.__setattr__(self, "options", tuple(self.options))
        self.accept(self.default)

    def accept(self, value: object) -> Value:
        """Give the option that equals value; ValueError with a sentence if none does."""
        for option in self.options:
            if type(option) is type(value) and option == value:
                return option
        raise ValueError(f"{quoted(value)} is not an option; give one of {listed(map(_shown, self.options))}")

    def covers(self, other: object) -> bool:
        """Say whether other is of this kind and offers nothing but options of this one."""
        return isinstance(other, Choice) and set(other.options) <= set(self.options)

    def __str__(self) -> str:
        return f"Choice({self.default!r}, {self.options!r})"


Tunable = Int | Float | Choice

BUDGET = "pages"  # the budget of a program that declares none


def declared_budgets(tunables: Mapping[str, Tunable]) -> list[str]:
    """Give the names of the tunables that are declared to be the budget; a program may have one."""
    return [name for name, tunable in tunables.items() if isinstance(tunable, Int | Float) and tunable.budget]


def budget_of(tunables: Mapping[str, Tunable]) -> str | None:
    """Give the name of the tunable that decides how much is read, None where no number does."""
    declared = declared_budgets(tunables)
    if declared:
        return declared[0]
    return BUDGET if isinstance(tunables.get(BUDGET), Int | Float) else None


STATE_AXES = ["page", "head", "dim"]


@dataclass(frozen=True)
class State:
    """What a program remembers of one request from one choice of pages to the next.

    `axes` are some of page, head and dim; before it is first written, every element is `init`.
    """

    axes: tuple[str, ...] = ("page",)
    init: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.axes, tuple | list) or not all(isinstance(axis, str) for axis in self.axes):
            raise ValueError(f'axes of State is {quoted(self.axes)}; give names such as ("page",)')
        for axis in self.axes:
            if axis not in STATE_AXES:
                near = did_you_mean(axis, STATE_AXES) or f"; it may have {', '.join(STATE_AXES)}"
                raise ValueError(f"a State has no axis {quoted(axis)}{near}")
        if len(set(self.axes)) < len(self.axes):
            raise ValueError("axes of State names an axis twice; give each once")
        if not _is_number(self.init):
            raise ValueError(f"init of State is {quoted(self.init)}; give a number up to 2**31")
        object.__setattr__(self, "axes", tuple(self.axes))
        object.__setattr__(self, "init", float(self.init))

    def __str__(self) -> str:
        return f"State(axes={self.axes!r}, init={self.init!r})"


PLATFORM_TUNABLES: Mapping[str, Tunable] = MappingProxyType(
    {
        "sink": Int(1, 0, 16),
        "window": Int(2, 1, 64),
        "page_size": Choice(16, (16, 32, 64, 128)),
        "dense_layers": Int(1, 0, 8),
        "share_layers": Int(1, 1, 8),
        "refresh_steps": Int(1, 1, 16),
    }
)
