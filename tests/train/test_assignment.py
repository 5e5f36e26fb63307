"""Assignment and loss against plain loops written from the recipe."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_yolov9.model import build
from edge_yolov9.train.assignment import assign, ciou
from edge_yolov9.train.loss import Grid, Head, Loss, boxes, focal, sides
from edge_yolov9.train.settings import Settings

SIZE = 64


def plain_ciou(a: list[float], b: list[float]) -> float:
    iw = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    ih = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    iou = iw * ih / (area_a + area_b - iw * ih)
    cw, ch = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    apart = ((a[0] + a[2] - b[0] - b[2]) ** 2 + (a[1] + a[3] - b[1] - b[3]) ** 2) / 4
    v = 4 / math.pi**2 * (math.atan((a[2] - a[0]) / (a[3] - a[1])) - math.atan((b[2] - b[0]) / (b[3] - b[1]))) ** 2
    return iou - apart / (cw**2 + ch**2) - (v * v / (1 - iou + v) if v else 0)


def some_boxes(count: int, generator: torch.Generator) -> Tensor:
    centre = torch.rand(count, 2, generator=generator) * SIZE
    half = torch.rand(count, 2, generator=generator) * 16 + 4
    return torch.cat((centre - half, centre + half), 1)


def plain_assign(
    logits: Tensor, predicted: Tensor, centres: Tensor, objects: Tensor, topk: int
) -> dict[tuple[int, int], tuple[int, float]]:
    """{(image, cell): (object, soft target)} by loops over everything."""
    claims: dict[tuple[int, int], list[tuple[float, int, float]]] = {}
    for g, row in enumerate(objects.tolist()):
        image, label, box = int(row[0]), int(row[1]), row[2:]
        found = []
        for a, (x, y) in enumerate(centres.tolist()):
            if box[0] < x < box[2] and box[1] < y < box[3]:
                overlap = max(0.0, plain_ciou(box, predicted[image, a].tolist()))
                score = 1 / (1 + math.exp(-float(logits[image, a, label])))
                if overlap > 0:
                    found.append((score**0.5 * overlap**6, a, overlap))
        for align, a, overlap in sorted(found, reverse=True)[:topk]:
            claims.setdefault((image, a), []).append((overlap, g, align))
    chosen = {place: max(several) for place, several in claims.items()}
    result = {}
    for place, (_, g, align) in chosen.items():
        mine = [c for c in chosen.values() if c[1] == g]
        result[place] = (g, align * max(c[0] for c in mine) / (max(c[2] for c in mine) + 1e-9))
    return result


def test_ciou_agrees_with_plain_arithmetic() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = some_boxes(50, generator), some_boxes(50, generator)
    wanted = [plain_ciou(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    torch.testing.assert_close(ciou(a, b), torch.tensor(wanted), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("topk", [1, 4, 10])
def test_assignment_agrees_with_loops(topk: int) -> None:
    generator = torch.Generator().manual_seed(topk)
    grid = Grid.of(SIZE, torch.device("cpu"))
    cells = len(grid.centres)
    objects = torch.cat(
        (torch.randint(3, (12, 1), generator=generator), torch.randint(2, (12, 1), generator=generator)), 1
    )
    objects = torch.cat((objects.float(), some_boxes(12, generator)), 1)
    logits = torch.randn(3, cells, 2, generator=generator)
    # predictions around the cell, so that many overlap the objects, and cells are claimed by several
    reach = torch.rand(3, cells, 4, generator=generator) * 24 + 4
    predicted = torch.cat((grid.centres - reach[..., :2], grid.centres + reach[..., 2:]), -1)
    found = assign(logits, predicted, grid.centres, objects, topk, 0.5, 6.0)
    wanted = plain_assign(logits, predicted, grid.centres, objects, topk)
    assert len(wanted) >= 12
    got = dict(
        zip(
            zip(found.image.tolist(), found.cell.tolist(), strict=True),
            zip(found.object.tolist(), found.score.tolist(), strict=True),
            strict=True,
        )
    )
    assert {place: g for place, (g, _) in got.items()} == {place: g for place, (g, _) in wanted.items()}
    for place, (_, score) in wanted.items():
        assert got[place][1] == pytest.approx(score, abs=1e-5)


def test_soft_targets_peak_at_the_best_iou_of_their_object() -> None:
    grid = Grid.of(SIZE, torch.device("cpu"))
    box = torch.tensor([[16.0, 16, 48, 48]])
    predicted = (box + torch.tensor([2.0, 0, 2, 0])).expand(1, len(grid.centres), 4)
    found = assign(
        torch.zeros(1, len(grid.centres), 1),
        predicted,
        grid.centres,
        torch.cat((torch.zeros(1, 2), box), 1),
        10,
        0.5,
        6,
    )
    assert len(found.cell) == 10
    assert found.score.max().item() == pytest.approx(ciou(box, predicted[0, :1]).item(), abs=1e-5)


def test_no_object_gives_class_loss_only() -> None:
    loss = Loss(Settings(imgsz=SIZE), torch.device("cpu"))
    maps = [torch.zeros(2, 64 + 3, SIZE // s, SIZE // s, requires_grad=True) for s in (8, 16, 32)]
    terms = loss([maps], torch.zeros(0, 6))
    cells = sum(m.shape[2] * m.shape[3] for m in maps)
    assert terms.tolist() == [[pytest.approx(0.5 * 2 * cells * 3 * math.log(2), rel=1e-5), 0, 0]]
    loss.total(terms).backward()
    assert all(m.grad is not None and torch.isfinite(m.grad).all() for m in maps)


def test_focal_loss_is_the_cross_entropy_of_two_bins() -> None:
    bins = torch.randn(1, 64)
    distance = torch.tensor([[0.25, 3.0, 14.9, 40.0]])
    log = F.log_softmax(bins.view(4, 16), -1)
    wanted = -torch.stack(
        (
            0.75 * log[0, 0] + 0.25 * log[0, 1],
            log[1, 3],
            0.1 * log[2, 14] + 0.9 * log[2, 15],
            0.01 * log[3, 14] + 0.99 * log[3, 15],
        )
    ).mean()
    assert focal(bins, distance).item() == pytest.approx(wanted.item(), abs=1e-4)


def test_decode_of_sharp_bins() -> None:
    bins = torch.full((1, 64), -50.0)
    for side, place in enumerate((1, 2, 3, 4)):
        bins[0, side * 16 + place] = 50.0
    xyxy = boxes(sides(bins), torch.tensor([[20.0, 28.0]]), torch.tensor([[8.0]]))
    assert xyxy.tolist() == [[pytest.approx(v, abs=1e-3) for v in (12, 12, 44, 60)]]


def test_loss_falls_to_almost_nothing_at_the_truth() -> None:
    """Predictions that say exactly what the objects are have box loss 0 and a smaller total than any other."""
    settings = Settings(imgsz=SIZE)
    grid = Grid.of(SIZE, torch.device("cpu"))
    truth = torch.tensor([[0.0, 1, 12, 12, 52, 52]])
    bins = torch.full((1, len(grid.centres), 4, 16), -30.0)
    logits = torch.full((1, len(grid.centres), 2), -9.0)
    reach = torch.cat((grid.centres - truth[0, 2:4], truth[0, 4:] - grid.centres), 1) / grid.strides
    for a in range(len(grid.centres)):
        for side in range(4):
            d = min(max(float(reach[a, side]), 0), 14.99)
            bins[0, a, side, int(d)] = math.log(max(1 - d % 1, 1e-9))
            bins[0, a, side, int(d) + 1] = math.log(max(d % 1, 1e-9))
    head = Head(bins.view(1, -1, 64), logits)
    targets = head.targets(grid, truth, settings)
    assert len(targets.cell) == 10
    logits[targets.image, targets.cell, 1] = torch.logit(targets.score.clamp(1e-4, 1 - 1e-4))
    _, box, _ = head.terms(targets, grid, truth, settings).tolist()
    assert box == pytest.approx(0, abs=0.02)


def test_lead_assignment_gives_the_auxiliary_head_the_main_heads_targets() -> None:
    torch.manual_seed(0)
    objects = torch.tensor([[0.0, 1, 10, 10, 50, 50], [1, 0, 5, 20, 30, 60]])
    with torch.no_grad():
        main, auxiliary = build("yolov9-t", 2)(torch.rand(2, 3, SIZE, SIZE))
    device = torch.device("cpu")
    own = Loss(Settings(imgsz=SIZE), device)([main, auxiliary], objects)
    lead = Loss(Settings(imgsz=SIZE, assign="lead"), device)([main, auxiliary], objects)
    swapped = Loss(Settings(imgsz=SIZE, assign="lead"), device)([main, main], objects)
    assert torch.equal(own[0], lead[0])
    assert not torch.equal(own[1], lead[1])
    assert torch.equal(swapped[0], swapped[1])


def test_total_weighs_main_1_and_auxiliary_a_quarter() -> None:
    loss = Loss(Settings(imgsz=SIZE), torch.device("cpu"))
    assert loss.total(torch.tensor([[1.0, 2, 3], [4, 4, 4]])).item() == 6 + 0.25 * 12
    assert loss.total(torch.tensor([[1.0, 2, 3]])).item() == 6
