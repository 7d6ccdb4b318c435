"""Settings and statistics of a run as single values: how they are written, and which way a metric improves."""

from __future__ import annotations

import json
import re
from typing import Literal

Statistic = Literal["last", "best", "min", "max"]
Direction = Literal["lower", "higher"]

STATISTICS: tuple[Statistic, ...] = ("last", "best", "min", "max")
NOT_SET = "(not set)"

# fmt: off
_LOWER_WORDS = frozenset(
    {
        "loss", "losses", "err", "error", "errors", "nll", "bce", "mse", "rmse", "mae", "mape", "ppl", "perplexity",
        "wer", "cer", "fid", "kl", "divergence", "regret"
    }
)
_HIGHER_WORDS = frozenset(
    {
        "acc", "accuracy", "auc", "auroc", "auprc", "f1", "precision", "recall", "iou", "miou", "dice", "bleu",
        "rouge", "r2", "psnr", "ssim", "reward", "return"
    }
)
# fmt: on


def setting_text(value: object) -> str:
    """A setting as one line of text, so that two settings with one text are one setting.

    Text stands as it is, unless it would read as something else: then it is quoted (`"1"`, `"true"`, `""`). All other
    values are written as JSON; a whole float is written as the integer it equals.

    >>> setting_text("adam"), setting_text("1"), setting_text(1.0), setting_text(None), setting_text([1, 2])
    ('adam', '"1"', '1', 'null', '[1, 2]')
    """
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if _reads_as_something_else(value) else value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _reads_as_something_else(text: str) -> bool:
    if not text.strip() or text == NOT_SET:
        return True
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def better_direction(metric: str) -> Direction | None:
    """Which way a metric improves, guessed from the words of its name; None when no word or both kinds tell.

    The last part of a name decides first, so that `accuracy/loss` is a loss.

    >>> better_direction("train/loss"), better_direction("val/acc_top5"), better_direction("lr")
    ('lower', 'higher', None)
    """
    for part in reversed(metric.split("/")):
        words = set(re.findall(r"[a-z]+[0-9]*", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", part).lower()))
        lower, higher = bool(words & _LOWER_WORDS), bool(words & _HIGHER_WORDS)
        if lower != higher:
            return "lower" if lower else "higher"
        if lower:
            return None
    return None


def pick_statistic(
    statistic: Statistic, *, last: float | None, low: float | None, high: float | None, better: Direction | None
) -> float | None:
    """One number of a metric's summary: its last value, its minimum, its maximum, or the better one of the two.

    Args:
        statistic: Which one. `best` is the minimum or the maximum, by `better`.
        last: Last value; may be NaN or infinite.
        low: Smallest finite value, None when there is none.
        high: Largest finite value, None when there is none.
        better: Which way this metric improves. Without it there is no best value, and None comes back.
    """
    if statistic == "best":
        return {"lower": low, "higher": high, None: None}[better]
    return {"last": last, "min": low, "max": high}[statistic]
