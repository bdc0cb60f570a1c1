"""UniPC (Zhao et al. 2023, algorithms 5 to 8): a second-order predictor that the next prediction corrects.

The data-predicting form with B(h) = e^h - 1 ("bh2"), on the straight path x = (1 - t) x0 + t noise. With l(t) =
log((1 - t) / t) and h = l(to) - l(from), every update is

    x(to) = t_to / t_from x(from) + (1 - t_to) (1 - e^-h) (x0(from) + correction)

where the correction weighs differences of predictions: the first step and the last have none before them and take
first order. A correction costs no further prediction. Knows no model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

ORDER = 2


@dataclass(frozen=True)
class Past:
    """What a step leaves to the next one."""

    x: Tensor  # the corrected sample that the step went from
    order: int  # of its prediction
    clean: tuple[Tensor, ...]  # predictions of x0, the last first: at the step's time, and one step before


def log_ratio(t: float) -> float:
    """Half the log of signal over noise power, up to a constant: log((1 - t) / t)."""
    return math.log((1 - t) / t)


def base(x: Tensor, x0: Tensor, t: float, to: float) -> Tensor:
    """First order: from t to `to` as if x0 did not change."""
    return to / t * x + (1 - to) * reach(t, to) * x0


def reach(t: float, to: float) -> float:
    """1 - e^-h."""
    return -math.expm1(log_ratio(t) - log_ratio(to)) if to else 1.0


def slope(past: tuple[Tensor, ...], times: tuple[float, float, float]) -> tuple[Tensor, float]:
    """How x0 changed over the step before, per step, and that step's length r (< 0) in units of the next one."""
    earlier, t, to = times
    r = (log_ratio(earlier) - log_ratio(t)) / (log_ratio(to) - log_ratio(t))
    return (past[1] - past[0]) / r, r


def predicted(x: Tensor, past: tuple[Tensor, ...], times: tuple[float, ...], order: int) -> Tensor:
    """From times[-2] to times[-1]. past[0] is x0 at times[-2], past[1] at times[-3]."""
    t, to = times[-2:]
    guess = base(x, past[0], t, to)
    if order == 1:
        return guess
    change, _ = slope(past, (times[-3], t, to))
    return guess + (1 - to) * reach(t, to) * 0.5 * change


def weights(h: float, r: float) -> tuple[float, float]:
    """Of the two differences in a second-order correction: solves [[1, 1], [r, 1]] w = b (Zhao et al. 2023, eq. 8)."""
    ratio = -math.expm1(-h)  # -B(h) in the data-predicting form
    first = (1 - ratio / h) / ratio  # b_1
    second = 2 * (0.5 - (1 - ratio / h) / h) / ratio  # b_2
    w_earlier = (first - second) / (1 - r)
    return w_earlier, first - w_earlier


def corrected(x: Tensor, new: Tensor, past: tuple[Tensor, ...], times: tuple[float, ...], order: int) -> Tensor:
    """The step from times[-2] to times[-1] once more, now that x0 at its end is known: `new`."""
    t, to = times[-2:]
    guess, change = base(x, past[0], t, to), new - past[0]
    gain = (1 - to) * reach(t, to)
    if order == 1:
        return guess + gain * 0.5 * change
    earlier, r = slope(past, (times[-3], t, to))
    w_earlier, w_new = weights(log_ratio(to) - log_ratio(t), r)
    return guess + gain * (w_earlier * earlier + w_new * change)


def order(i: int, steps: int, first: bool) -> int:
    """Of the prediction of step i of so many; the first one has nothing before it."""
    return min(ORDER, steps - i, 1 if first else ORDER)


def step(x: Tensor, x0: Tensor, times: list[float], i: int, past: Past | None = None) -> tuple[Tensor, Past]:
    """Step i of a schedule: from x at times[i], where x0 was predicted, to times[i + 1]. Without a past, the first one.

    What is predicted at times[i + 1] corrects x there before the next step goes on from it.
    """
    if past is not None:
        x = corrected(past.x, x0, past.clean, tuple(times[max(0, i - 2) : i + 1]), past.order)
    own = order(i, len(times) - 1, past is None)
    clean = (x0,) if past is None else (x0, past.clean[0])
    return predicted(x, clean, tuple(times[max(0, i - 1) : i + 2]), own), Past(x, own, clean)
