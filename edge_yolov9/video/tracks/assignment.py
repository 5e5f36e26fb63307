"""Pairs of rows and columns: the greatest overlap, the least cost (numpy)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def match(overlap: Floats, least: float) -> list[tuple[int, int]]:
    """Pairs (row, column) with the greatest sum of ``overlap`` (N, M), none under ``least``, each used once."""
    fits = overlap >= least
    rows, columns = fits.sum(axis=1), fits.sum(axis=0)
    alone = fits & (rows[:, None] == 1) & (columns == 1)
    pairs = [(int(i), int(j)) for i, j in np.argwhere(alone)]
    busy_rows = np.flatnonzero((rows > 0) & ~alone.any(axis=1))
    busy_columns = np.flatnonzero((columns > 0) & ~alone.any(axis=0))
    if len(busy_rows):
        gain = np.where(fits, overlap, 0)[np.ix_(busy_rows, busy_columns)]
        chosen = ((int(busy_rows[i]), int(busy_columns[j])) for i, j in assign(-gain))
        pairs += [(i, j) for i, j in chosen if fits[i, j]]
    return pairs


def assign(cost: Floats) -> list[tuple[int, int]]:
    """Pairs (row, column) of least total ``cost`` (N, M), min(N, M) of them.

    The Hungarian method by shortest augmenting paths: rows enter one at a time, and prices on rows and columns keep
    every reduced cost at or above zero.
    """
    if cost.shape[0] > cost.shape[1]:
        return [(row, column) for column, row in assign(cost.T)]
    count, width = cost.shape
    row_price, column_price = np.zeros(count), np.zeros(width)
    row_of = np.full(width, -1)
    for entering in range(count):
        distance, before = np.full(width, np.inf), np.full(width, -1)
        done = np.zeros(width, np.bool_)
        row, column, length = entering, -1, 0.0
        while row >= 0:
            reach = length + cost[row] - row_price[row] - column_price
            shorter = ~done & (reach < distance)
            distance[shorter], before[shorter] = reach[shorter], column
            column = int(np.where(done, np.inf, distance).argmin())
            done[column], length, row = True, distance[column], row_of[column]
        used = done.copy()
        used[column] = False
        row_price[entering] += length
        row_price[row_of[used]] += length - distance[used]
        column_price[used] -= length - distance[used]
        while column >= 0:
            row_of[column] = entering if before[column] < 0 else row_of[before[column]]
            column = before[column]
    return [(int(row_of[column]), int(column)) for column in np.flatnonzero(row_of >= 0)]
