"""What was measured: the best of the rounds, how far they lay apart, and whether the targets are reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from .suite import Settings, Suite, Target, Workload

__all__ = ["Outcome", "Result", "Verdict"]


@dataclass(slots=True)
class Outcome:
    """Of one workload: for each server and metric the value of each round."""

    workload: Workload
    rounds: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, server: str, values: dict[str, float]) -> None:
        """One more round of a server: a value for each metric."""
        kept = self.rounds.setdefault(server, {metric.key: [] for metric in self.workload.metrics})
        for key, value in values.items():
            kept[key].append(value)

    def best(self, server: str, key: str) -> float:
        """The best of the rounds."""
        return self.workload.metric(key).best(self.rounds[server][key])

    def spread(self, server: str, key: str) -> float:
        """How far the rounds lie apart, as a part of the best; 0 where the best is 0."""
        values, best = self.rounds[server][key], self.best(server, key)
        return (max(values) - min(values)) / best if best else 0.0

    def ratio(self, subject: str, other: str, key: str) -> float | None:
        """Best over best; None where the other's is 0."""
        divisor = self.best(other, key)
        return self.best(subject, key) / divisor if divisor else None

    def round_ratios(self, subject: str, other: str, key: str) -> tuple[float, float, float] | None:
        """The lowest, the median and the highest ratio within a round: what trust the ratio of the best deserves."""
        pairs = zip(self.rounds[subject][key], self.rounds[other][key], strict=True)
        ratios = [value / divisor for value, divisor in pairs if divisor]
        return (min(ratios), median(ratios), max(ratios)) if ratios else None


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
        """What TARGET limits; None when its workload or one of its servers was left out."""
        subject, other = self.suite.subject, target.against
        outcome = self.outcomes.get(target.workload)
        if outcome is None or not {subject, other or subject} <= outcome.rounds.keys():
            return None
        if other is None:
            return outcome.best(subject, target.metric)
        return outcome.ratio(subject, other, target.metric)
