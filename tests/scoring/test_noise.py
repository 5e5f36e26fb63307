"""Standard errors say what another draw would have given."""

from __future__ import annotations

import numpy as np
import pytest

from edge_yolov9.bench.spread import Measurement, few, summary
from edge_yolov9.data import load_data
from edge_yolov9.report import compare
from edge_yolov9.scoring import noise
from edge_yolov9.scoring.accuracy import evaluate
from tests.conftest import DATA
from tests.scoring.test_accuracy import noisy


def test_the_jackknife_of_a_mean_is_the_textbook_standard_error() -> None:
    values = np.random.default_rng(0).normal(3, 2, 40)
    replicates = [float(np.delete(values, i).mean()) for i in range(40)]
    assert noise.jackknife(replicates) == pytest.approx(values.std(ddof=1) / np.sqrt(40))


def test_unknown_where_a_group_held_everything() -> None:
    assert noise.jackknife([0.5]) is None
    assert noise.jackknife([0.5, None, 0.4]) is None
    assert noise.beyond(3.0, None) is None
    assert noise.together((0.0, 4.0), (0.0, 4.0)) == (0.0, 8.0)
    assert noise.together((3e-200, 4.0), (4e-200, 4.0))[0] == pytest.approx(5e-200)  # its square is zero
    assert noise.together((0.0, 4.0), (2e200, 4.0)) == (2e200, pytest.approx(4.0))  # its square is too large


def test_the_error_of_ap_is_of_the_size_that_chance_gives() -> None:
    """Detectors that err by chance alone, on the same 72 images, differ by what the jackknife claims."""
    split = load_data(DATA).split("val")
    accuracy = evaluate(noisy(split, 1), split, split.names, noise.groups(len(split)))
    claimed = noise.jackknife([one.ap for one in accuracy.replicates])
    assert claimed is not None
    assert len(accuracy.replicates) == noise.GROUPS
    assert sum(72 - one.images for one in accuracy.replicates) == 72
    others = [noisy(split, seed) for seed in range(2, 9)]
    spread = np.std([evaluate(found, split, split.names).ap for found in others], ddof=1)
    assert spread / 3 < claimed < 3 * spread


def test_left_out_groups_are_evaluated_as_if_the_images_were_not_there() -> None:
    from dataclasses import replace

    split = load_data(DATA).split("val")
    found = noisy(split, 1)
    first = evaluate(found, split, split.names, 20).replicates[0]
    ids = sorted(record.image_id for record in split.images)
    rest = replace(split, images=tuple(r for r in split.images if r.image_id not in set(ids[::20])))
    alone = evaluate({r.image_id: found[r.image_id] for r in rest.images}, rest, split.names)
    assert first.figures == alone.figures
    assert [c.objects for c in first.classes] == [c.objects for c in alone.classes]


def test_the_same_images_make_differences_surer() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 1, 20)
    first, second = list(0.6 + 0.01 * hard), list(0.61 + 0.01 * hard + 0.0005 * rng.normal(0, 1, 20))
    alone, together = noise.jackknife(first), noise.paired(first, second)
    assert alone is not None
    assert together is not None
    assert together < alone / 5
    assert noise.paired(first, second[:10]) is None


def test_the_limit_is_students() -> None:
    for freedom, value in ((2, 4.303), (4, 2.776), (8, 2.306), (19, 2.093), (1000, 1.962)):
        assert noise.limit(freedom) == pytest.approx(value, rel=0.11 if freedom == 2 else 0.02)


@pytest.mark.parametrize("kind", ["many", "few"])
def test_one_in_twenty_differences_by_chance_is_called_more(kind: str) -> None:
    """And a shift of eight standard deviations of a round nearly always is."""
    rng = np.random.default_rng(0)

    def drawn(shift: float) -> Measurement:
        return summary(rng.normal(10 + shift, 0.5, 300)) if kind == "many" else few(rng.normal(10 + shift, 0.1, 3))

    def called(shift: float) -> float:
        pairs = [(drawn(0.0), drawn(shift)) for _ in range(200)]
        verdicts = [compare.compare_measurements("latency", "total", one, other).beyond_noise for one, other in pairs]
        return sum(map(bool, verdicts)) / len(verdicts)

    assert called(0.0) < 0.07
    assert called(0.8) > 0.9


def test_the_error_of_a_handful() -> None:
    assert few([1.0]).error is None
    assert few([1.0, 2.0, 3.0]).error == pytest.approx(2 / 1.693)
    assert compare.compare_measurements("latency", "total", few([1.0]), few([2.0, 3.0])).beyond_noise is None
