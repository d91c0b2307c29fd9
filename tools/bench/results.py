"""The results: what stands for the rounds, their ratios, and whether the targets are reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from .suite import Settings, Suite, Target, Workload, matches

__all__ = ["Outcome", "Result", "Verdict"]


@dataclass(slots=True)
class Outcome:
    """Of one workload: for each server and metric the value of each round."""

    workload: Workload
    rounds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    turns: dict[str, list[float]] = field(default_factory=dict)
    """CPU time for a request in each turn of all rounds, of servers that take turns."""

    def add(self, server: str, values: dict[str, float], turns: Sequence[float] = ()) -> None:
        """One more round of a server: a value for each metric, and CPU time for a request in each of its turns."""
        kept = self.rounds.setdefault(server, {metric.key: [] for metric in self.workload.metrics})
        for key, value in values.items():
            kept[key].append(value)
        self.turns.setdefault(server, []).extend(turns)

    def best(self, server: str, key: str) -> float:
        """The best of the rounds."""
        return self.workload.metric(key).best(self.rounds[server][key])

    def figure(self, server: str, key: str) -> float:
        """The best of the rounds or, of servers that take turns and are disturbed alike, their median."""
        return self.median(server, key) if self.workload.load else self.best(server, key)

    def median(self, server: str, key: str) -> float:
        """The median of the rounds."""
        return median(self.rounds[server][key])

    def ratio(self, subject: str, other: str, key: str) -> float | None:
        """The ratio of what stands for the rounds of either; None where the other's is 0."""
        divisor = self.figure(other, key)
        return self.figure(subject, key) / divisor if divisor else None

    def round_ratios(self, subject: str, other: str, key: str) -> tuple[float, float, float] | None:
        """The lowest, the median and the highest ratio within a round: what trust the ratio of the best deserves."""
        pairs = zip(self.rounds[subject][key], self.rounds[other][key], strict=True)
        ratios = [value / divisor for value, divisor in pairs if divisor]
        return (min(ratios), median(ratios), max(ratios)) if ratios else None

    def turn_ratio(self, subject: str, other: str) -> float | None:
        """The median ratio of CPU time for a request in two turns that follow each other; None without turns."""
        pairs = zip(self.turns.get(subject, ()), self.turns.get(other, ()), strict=False)
        ratios = [value / divisor for value, divisor in pairs if divisor]
        return median(ratios) if ratios else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was measured of it: None when it was not."""

    target: Target
    value: float | None

    @property
    def missed(self) -> bool:
        """Measured and not reached."""
        return self.value is not None and not self.target.reached(self.value)


@dataclass(frozen=True, slots=True)
class Result:
    """A whole run: its outcomes by the workloads' keys."""

    suite: Suite
    settings: Settings
    outcomes: dict[str, Outcome]

    def verdicts(self) -> list[Verdict]:
        """Every target of the suite, judged."""
        return [Verdict(target, self.value(target)) for target in self.suite.targets]

    def value(self, target: Target) -> float | None:
        """Return the figure that ``target`` limits; None when its workloads or one of its servers were left out."""
        subject, other = self.suite.subject, target.against
        values: list[float] = []
        for key, outcome in self.outcomes.items():
            if matches(key, target.workload) and {subject, other or subject} <= outcome.rounds.keys():
                value = (
                    outcome.ratio(subject, other, target.metric) if other else outcome.figure(subject, target.metric)
                )
                values += [] if value is None else [value]
        return target.judged(values) if values else None
