"""How far a figure may be from what another draw of images, or another minute, would give.

Spreads are standard errors throughout. A difference counts as more than noise outside its 95 % interval: two of its
standard errors where they are well known, more where they come from three or five rounds (Student's t).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

GROUPS = 20
"""Groups of images that are left out in turn; ten where there are over ``MANY`` images, because each costs seconds."""
MANY = 2000

Values = Sequence["float | None"]


def groups(images: int) -> int:
    """Into how many groups a split is dealt; 0 where one image is all there is."""
    return 0 if images < 2 else min(images, 10 if images > MANY else GROUPS)


def jackknife(replicates: Values) -> float | None:
    """Standard error of a figure over all images, from its values with one group left out (delete-a-group jackknife).

    None where there are no two of them, or where a group held all there is to find.
    """
    values = [value for value in replicates if value is not None]
    if len(values) < 2 or len(values) < len(replicates):
        return None
    mean, count = math.fsum(values) / len(values), len(values)
    return math.sqrt((count - 1) / count * math.fsum((value - mean) ** 2 for value in values))


def paired(first: Values, second: Values) -> float | None:
    """Standard error of the difference of two figures on the same images, dealt into the same groups.

    The images are the same, so what is hard in them is hard for both: the difference is known better than either.
    """
    if len(first) != len(second):
        return None
    pairs = zip(first, second, strict=True)
    return jackknife([None if a is None or b is None else b - a for a, b in pairs])


Known = tuple[float, float]
"""A standard error, and how many degrees of freedom it comes from."""


def together(first: Known, second: Known) -> Known:
    """Standard error of the difference of two figures that are independent (Welch, Satterthwaite)."""
    (first_error, first_freedom), (second_error, second_freedom) = first, second
    both = math.hypot(first_error, second_error)
    if both == 0:
        return 0.0, first_freedom + second_freedom
    first_share, second_share = (first_error / both) ** 2, (second_error / both) ** 2
    return both, 1 / (first_share**2 / first_freedom + second_share**2 / second_freedom)


def limit(freedom: float) -> float:
    """Standard errors that 95 % of differences by chance stay within: Student's t, expanded about the normal's 1.96.

    Within 2 % of the true value from 4 degrees of freedom on; 10 % low at 2.
    """
    return 1.960 + 2.372 / freedom + 2.823 / freedom**2


def beyond(difference: float, known: Known | None) -> bool | None:
    """Whether a difference is more than noise; None where its standard error is unknown."""
    return None if known is None else abs(difference) > limit(known[1]) * known[0]
