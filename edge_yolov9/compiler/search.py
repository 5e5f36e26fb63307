"""The search for an artifact within the budget: other ranges, fine-tuned weights, the most sensitive layers in float.

Every attempt is a whole artifact, scored through its own runtime. What ONNX Runtime computes from the plan only decides
the order in which layers are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from edge_yolov9 import bundle as bundles
from edge_yolov9.bench import latency
from edge_yolov9.bundle import Bundle
from edge_yolov9.compiler import verify
from edge_yolov9.compiler.floatgraph import GraphSession
from edge_yolov9.compiler.gate import Gate
from edge_yolov9.compiler.quantization import Plan, tune
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

JUDGED = 100
"""Most images for that."""

MOST_FLOAT = 0.5
"""Share of the convolutions beyond which an artifact is not INT8 any more."""


@dataclass(frozen=True)
class Attempt:
    """One artifact and what it lost. ``drop`` is in AP points; None where it was not worth scoring."""

    name: str
    plan: Plan | None
    draft: Bundle
    after: Accuracy | None
    drop: float | None
    failure: str = ""

    def within(self, points: float) -> bool:
        """Whether it was scored and loses at most ``points``."""
        return self.drop is not None and self.drop <= points

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        found: dict[str, Any] = {"ranges": self.name, "drop_points": self.drop}
        if self.plan is not None:
            found["float_layers"] = len(self.plan.float_layers())
        return {**found, "failure": self.failure} if self.failure else found


class Search:
    """Attempts until one holds the budget."""

    def __init__(
        self,
        gate: Gate,
        emit: Callable[[Plan | None], Bundle],
        vouch: Callable[[Bundle], Bundle],
        runtime: str | None,
        stage: Callable[[str], AbstractContextManager[None]],
        report: Callable[[str], None],
        fine_tuning: int,
    ) -> None:
        """Nothing is done yet.

        Args:
            gate: float figures and budget.
            emit: makes an artifact with its unsealed manifest, in a folder of its own.
            vouch: puts parity into its manifest, or raises ParityError.
            runtime: see :func:`edge_yolov9.registry.open_session`.
            stage: see :class:`edge_yolov9.compiler.job.EmitJob`.
            report: takes one line per attempt.
            fine_tuning: steps of it, 0 for none.
        """
        self._gate = gate
        self._emit = emit
        self._vouch = vouch
        self._runtime = runtime
        self._stage = stage
        self._report = report
        self._fine_tuning = fine_tuning
        self.attempts: list[Attempt] = []
        self.sensitivity: dict[str, dict[str, float]] = {}
        self._latency: dict[str, Any] = {}

    def run(self, plan: Plan | None) -> Attempt:
        """The first artifact within the budget; ``plan`` is None for a float precision, which has one attempt.

        Raises:
            AccuracyError: there is none; the attempts have been reported.
            ParityError: a float artifact does not compute what the checkpoint computes.
        """
        best = self._tuned(self._ranges(plan))
        if not best.within(self._gate.max_drop) and plan is not None:
            assert best.plan is not None
            found = self._exclude(best.plan)
            if found is not None:
                self._latency = self._cost(best, found)
                best = found
        if not best.within(self._gate.max_drop):
            self._refuse(min(self.attempts, key=_drop))
        return best

    def record(self) -> dict[str, Any]:
        """For the manifest: what was tried on the scored images, and what layers in float cost."""
        tried = {"attempts": [attempt.as_dict() for attempt in self.attempts]}
        return {**tried, "sensitivity": self.sensitivity, **self._latency}

    @property
    def _aim(self) -> float:
        return min(AIM, self._gate.max_drop)

    def _ranges(self, plan: Plan | None) -> Attempt:
        tried = [self._attempt(plan)]
        for rule in () if plan is None else _rivals(plan):
            if tried[-1].within(self._aim):
                break
            assert plan is not None
            tried.append(self._attempt(plan.with_rule(rule)))
        return min(tried, key=_drop)

    def _tuned(self, best: Attempt) -> Attempt:
        """``best``, or an attempt with fine-tuned weights where that loses less."""
        if not self._fine_tuning or best.within(self._aim) or not best.within(TUNABLE):
            return best
        plans = [attempt.plan for attempt in self.attempts if attempt.within(_drop(best) + NOISE)]
        start = min(filter(None, plans), key=lambda plan: plan.errors[plan.rule], default=None)
        if start is None:
            return best
        with self._stage("fine-tune INT8 weights"):
            plan = tune(start, self._fine_tuning)
        return min(best, self._attempt(plan), key=_drop)

    def _exclude(self, plan: Plan) -> Attempt | None:
        """The fewest of the most sensitive groups in float, found by doubling and then halving the interval."""
        with self._stage("sensitivity"):
            order = _allowed(plan, self._suspects(plan))
        failed, count, found = 0, 1, None
        while found is None and failed < len(order):
            count = min(count, len(order))
            attempt = self._attempt(plan.keep_float(order[:count]))
            if attempt.within(self._gate.max_drop):
                found = attempt
            else:
                failed, count = count, 2 * count
        while found is not None and count - failed > 1:
            middle = (count + failed) // 2
            attempt = self._attempt(plan.keep_float(order[:middle]))
            if attempt.within(self._gate.max_drop):
                count, found = middle, attempt
            else:
                failed = middle
        return found

    def _suspects(self, plan: Plan) -> list[str]:
        """Groups, the one that hurts most alone first: by AP for the noisiest, then by signal to noise."""
        noise = plan.sensitivity()
        few = self._gate.few(JUDGED)
        lost: dict[str, float] = {}
        for group in list(noise)[:SUSPECTS]:
            lost[group] = few.drop(few.simulate(GraphSession(plan.alone(group).insert())))
            self.sensitivity[group] = {"sqnr_db": noise[group], "drop_points": lost[group]}
            self._report(f"  {group}: {noise[group]:.1f} dB, alone loses {lost[group]:.2f} points")
        return sorted(lost, key=lambda group: -lost[group]) + list(noise)[SUSPECTS:]

    def _attempt(self, plan: Plan | None) -> Attempt:
        draft = self._emit(plan)
        name = draft.manifest.precision if plan is None else plan.title
        try:
            draft = self._vouch(draft)
        except ParityError as error:
            if plan is None:
                raise
            attempt = Attempt(name, plan, draft, None, None, str(error).removesuffix(verify.CONSEQUENCE))
        else:
            with self._stage("measure AP"):
                after = self._gate.artifact(draft, self._runtime)
                attempt = Attempt(name, plan, draft, after, self._gate.drop(after))
        self.attempts.append(attempt)
        self._report(_line(attempt, len(self.attempts)))
        return attempt

    def _cost(self, whole: Attempt, found: Attempt) -> dict[str, Any]:
        """Milliseconds of all-INT8 and of what is shipped, on this machine."""
        pair = [bundles.seal(item.draft.path, item.draft.manifest).path for item in (whole, found)]
        runtime = self._runtime or found.draft.manifest.target
        try:
            with self._stage("compare latency"):
                before, after = latency.compare(pair, self._runtime)
        except InferenceError as error:
            return {"latency": {"runtime": runtime, "failure": str(error)}}
        percent = round(100 * (after / before - 1), 1)
        return {"latency": {"runtime": runtime, "int8_ms": before, "ms": after, "cost_percent": percent}}

    def _refuse(self, best: Attempt) -> None:
        before = 100 * self._gate.before.ap
        for index, attempt in enumerate(self.attempts, 1):
            self._report(_line(attempt, index))
        if best.drop is None:
            raise AccuracyError(best.failure + verify.CONSEQUENCE)
        raise AccuracyError(
            f"{best.draft.manifest.precision} loses {best.drop:.2f} AP points on {self._gate.file.name} "
            f"({before:.2f} -> {before - best.drop:.2f}) in the best of {len(self.attempts)} attempts, more than the "
            f"budget of {self._gate.max_drop:g}; no bundle was written. Calibrate with more or better images, choose "
            "--precision fp16, or raise --max-drop"
        )


def _allowed(plan: Plan, order: list[str]) -> list[str]:
    """As many groups as may be float together."""
    most = MOST_FLOAT * len(plan.graph.convolutions)
    count = len(order)
    while len(replace(plan, floating=frozenset(order[:count])).float_layers()) > most:
        count -= 1
    return order[:count]


def _rivals(plan: Plan) -> Iterator[str]:
    least = plan.errors[plan.rule]
    for rule, error in sorted(plan.errors.items(), key=lambda item: item[1]):
        if rule != plan.rule and error <= RIVAL * least:
            yield rule


def _drop(attempt: Attempt) -> float:
    return float("inf") if attempt.drop is None else attempt.drop


def _line(attempt: Attempt, number: int) -> str:
    layers = len(attempt.plan.float_layers()) if attempt.plan else 0
    what = f"attempt {number}: {attempt.name}" + (f", {layers} convolutions in float" if layers else "")
    return f"{what}: " + (attempt.failure if attempt.drop is None else f"loses {attempt.drop:.2f} AP points")
