"""The search for an artifact within the budget: other ranges, fine-tuned weights, the most sensitive layers in float.

Every attempt is a whole artifact, scored through its own runtime. What ONNX Runtime computes from the plan only decides
the order in which layers are tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from edge_yolov9.bundle import Bundle
from edge_yolov9.bundle.record import AttemptRecord, LatencyRecord, SearchRecord, SensitivityRecord
from edge_yolov9.compiler import verify
from edge_yolov9.compiler.compilation import ScoredCompilation
from edge_yolov9.compiler.quantization import Plan, Study
from edge_yolov9.errors import AccuracyError, InferenceError, ParityError
from edge_yolov9.scoring.accuracy import Accuracy

AIM = 0.2
"""AP points; what costs nothing on the device, other ranges and fine-tuning, is tried until the drop is under this."""

RIVAL = 2.0
"""A rule whose error on the raw maps is more than this many times the least is not worth an attempt."""

NOISE = 0.5
"""AP points: of rules that differ by less, the one with the least error on the raw maps is fine-tuned."""

TUNABLE = 5.0
"""AP points; fine-tuning does not mend what loses more."""

SUSPECTS = 8
"""Groups, the noisiest first, whose AP is measured before layers go back to float."""

MOST_FLOAT = 0.5
"""Share of the convolutions beyond which an artifact is not INT8 any more."""


@dataclass(frozen=True)
class Scored:
    """Figures of an artifact, and the AP points that it lost against the float model."""

    accuracy: Accuracy
    drop: float


@dataclass(frozen=True)
class Attempt:
    """One artifact, scored, or the reason why it was not worth scoring."""

    name: str
    plan: Plan | None
    """None for a float precision."""
    draft: Bundle
    result: Scored | str
    """Figures, or what failed."""

    @property
    def drop(self) -> float:
        """AP points that it lost; infinite where it was not worth scoring."""
        return self.result.drop if isinstance(self.result, Scored) else float("inf")

    def record(self) -> AttemptRecord:
        """What the manifest keeps."""
        layers = None if self.plan is None else len(self.plan.float_layers())
        if isinstance(self.result, Scored):
            return AttemptRecord(self.name, self.result.drop, layers)
        return AttemptRecord(self.name, None, layers, self.result)

    def line(self, number: int) -> str:
        """What the terminal shows."""
        layers = len(self.plan.float_layers()) if self.plan else 0
        what = f"attempt {number}: {self.name}" + (f", {layers} convolutions in float" if layers else "")
        return f"{what}: " + (self.result if isinstance(self.result, str) else f"loses {self.drop:.2f} AP points")


class Search:
    """Attempts until one holds the budget."""

    def __init__(self, compilation: ScoredCompilation) -> None:
        """Nothing is done yet; ``compilation`` makes and scores the artifacts."""
        self._compilation = compilation
        self._gate = compilation.gate
        self._attempts: list[Attempt] = []
        self._sensitivity: dict[str, SensitivityRecord] = {}
        self._latency: LatencyRecord | None = None

    def run(self) -> tuple[Attempt, Scored]:
        """The first artifact within the budget, and its figures.

        Raises:
            AccuracyError: there is none; the attempts have been reported.
            ParityError: a float artifact does not compute what the checkpoint computes.
        """
        study = self._compilation.study
        best = self._attempt(None) if study is None else self._quantized(study)
        if isinstance(best.result, Scored) and self._holds(best):
            return best, best.result
        raise self._refusal()

    def record(self) -> SearchRecord:
        """What was tried on the scored images, and what layers in float cost."""
        return SearchRecord(
            tuple(attempt.record() for attempt in self._attempts), dict(self._sensitivity), self._latency
        )

    @property
    def _aim(self) -> float:
        return min(AIM, self._gate.max_drop)

    def _holds(self, attempt: Attempt) -> bool:
        return attempt.drop <= self._gate.max_drop

    def _quantized(self, study: Study) -> Attempt:
        """The best of several ranges and of fine-tuned weights; over the budget, one with layers in float."""
        best, plan = self._tuned(study, *self._ranges(study))
        if self._holds(best):
            return best
        mixed = self._exclude(study, plan)
        if mixed is None:
            return best
        self._latency = self._cost(best, mixed)
        return mixed

    def _ranges(self, study: Study) -> tuple[Attempt, Plan]:
        """The rule for ranges that loses least, of those that are tried until one is good enough."""
        plan = study.best()
        best = self._attempt(plan), plan
        for rule in _rivals(study.errors, plan.rule):
            if best[0].drop <= self._aim:
                break
            plan = study.plan(rule)
            best = min(best, (self._attempt(plan), plan), key=_drop_of_first)
        return best

    def _tuned(self, study: Study, best: Attempt, plan: Plan) -> tuple[Attempt, Plan]:
        """``best`` and its plan, or an attempt with fine-tuned weights where that loses less."""
        if not self._compilation.fine_tuning or not self._aim < best.drop <= TUNABLE:
            return best, plan
        plans = [attempt.plan for attempt in self._attempts if attempt.drop <= best.drop + NOISE]
        start = min(filter(None, plans), key=lambda item: study.errors[item.rule], default=plan)
        with self._compilation.stage("fine-tune INT8 weights"):
            tuned = self._compilation.tune(study, start)
        return min((best, plan), (self._attempt(tuned), tuned), key=_drop_of_first)

    def _exclude(self, study: Study, plan: Plan) -> Attempt | None:
        """The fewest of the most sensitive groups in float, by doubling and then halving the interval; None: too few
        may be float to hold the budget."""
        with self._compilation.stage("sensitivity"):
            order = _allowed(plan, self._suspects(study, plan))
        failed, count, good = 0, 1, None
        while good is None and failed < len(order):
            count = min(count, len(order))
            attempt = self._attempt(study.keep_float(plan, order[:count]))
            if self._holds(attempt):
                good = attempt
            else:
                failed, count = count, 2 * count
        while good is not None and count - failed > 1:
            middle = (count + failed) // 2
            attempt = self._attempt(study.keep_float(plan, order[:middle]))
            if self._holds(attempt):
                count, good = middle, attempt
            else:
                failed = middle
        return good

    def _suspects(self, study: Study, plan: Plan) -> list[str]:
        """Groups, the one that hurts most alone first: by AP for the noisiest, then by signal to noise."""
        noise = study.sensitivity(plan)
        lost: dict[str, float] = {}
        for group in list(noise)[:SUSPECTS]:
            lost[group] = self._compilation.drop_alone(study, plan, group)
            self._sensitivity[group] = SensitivityRecord(noise[group], lost[group])
            self._compilation.report(f"  {group}: {noise[group]:.1f} dB, alone loses {lost[group]:.2f} points")
        return sorted(lost, key=lambda group: -lost[group]) + list(noise)[SUSPECTS:]

    def _attempt(self, plan: Plan | None) -> Attempt:
        draft = self._compilation.emit(plan)
        name = draft.manifest.precision if plan is None else plan.title
        result: Scored | str
        try:
            draft = self._compilation.vouch(draft)
        except ParityError as error:
            if plan is None:
                raise
            result = str(error).removesuffix(verify.CONSEQUENCE)
        else:
            with self._compilation.stage("measure AP"):
                accuracy = self._compilation.score(draft)
                result = Scored(accuracy, self._gate.drop(accuracy))
        attempt = Attempt(name, plan, draft, result)
        self._attempts.append(attempt)
        self._compilation.report(attempt.line(len(self._attempts)))
        return attempt

    def _cost(self, whole: Attempt, mixed: Attempt) -> LatencyRecord:
        """Milliseconds of all-INT8 and of what is shipped, on this machine."""
        runtime = self._compilation.runtime or self._compilation.target
        try:
            with self._compilation.stage("compare latency"):
                before, after = self._compilation.latency(whole.draft, mixed.draft)
        except InferenceError as error:
            return LatencyRecord(runtime, failure=str(error))
        return LatencyRecord(runtime, before, after, round(100 * (after / before - 1), 1))

    def _refusal(self) -> AccuracyError:
        """What is said when nothing held the budget, after all attempts have been shown."""
        for index, attempt in enumerate(self._attempts, 1):
            self._compilation.report(attempt.line(index))
        best = min(self._attempts, key=lambda attempt: attempt.drop)
        if isinstance(best.result, str):
            return AccuracyError(best.result + verify.CONSEQUENCE)
        before = 100 * self._gate.before.ap
        return AccuracyError(
            f"{best.draft.manifest.precision} loses {best.drop:.2f} AP points on {self._gate.file.name} "
            f"({before:.2f} -> {before - best.drop:.2f}) in the best of {len(self._attempts)} attempts, more than the "
            f"budget of {self._gate.max_drop:g}; no bundle was written. Calibrate with more or better images, choose "
            "--precision fp16, or raise --max-drop"
        )


def _drop_of_first(pair: tuple[Attempt, Plan]) -> float:
    return pair[0].drop


def _allowed(plan: Plan, order: list[str]) -> list[str]:
    """The first groups of ``order``, as many as may be float together."""
    most = MOST_FLOAT * len(plan.graph.convolutions)
    count = len(order)
    while len(replace(plan, floating=frozenset(order[:count])).float_layers()) > most:
        count -= 1
    return order[:count]


def _rivals(errors: Mapping[str, float], best: str) -> Iterator[str]:
    """Rules whose error is nearly as small as that of the ``best``, the smallest first."""
    for rule, error in sorted(errors.items(), key=lambda item: item[1]):
        if rule != best and error <= RIVAL * errors[best]:
            yield rule
