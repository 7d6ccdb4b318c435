"""What stands under a chart: what is drawn of what, by which rules, and what is not drawn."""

from __future__ import annotations

from explorer.app.metrics_options import NO_GROUP, Options
from explorer.app.metrics_series import Prepared
from explorer.app.metrics_tables import Drawn


def caption(prepared: Prepared, drawn: Drawn, options: Options) -> str:
    """Return the caption as plain text, such as `4 runs · 1.2 M points · min to max per pixel`."""
    grouped = options.group != NO_GROUP
    parts = [_counted(len(prepared.run_ids), "run")]
    if grouped:
        parts[0] = f"mean ± 1 standard deviation of {_counted(len(prepared.curves), 'group')} of {parts[0]}"
    parts.append(_points(drawn.num_points) + (" of means" if grouped else ""))
    parts.append(drawn.how)
    if prepared.halflife:
        smoothed = "each run smoothed" if grouped else "smoothed"
        parts.append(f"{smoothed}, half-life {prepared.halflife:.3g} steps")
    num_nan, num_inf = drawn.num_nan + prepared.num_nan, drawn.num_inf + prepared.num_inf
    if num_nan or num_inf:
        told = " and ".join(f"{count:,} {name}" for count, name in ((num_nan, "NaN"), (num_inf, "Inf")) if count)
        parts.append(f"{told} left out of the means" if grouped else f"{told} marked at the bottom")
    if drawn.num_outside:
        parts.append(f"{drawn.num_outside:,} of {_points(drawn.num_points)} outside the y axis")
    if drawn.num_off_log:
        parts.append(f"{_counted(drawn.num_off_log, 'point')} at or below 0 not on the logarithmic axis")
    return " · ".join([*parts, *prepared.notes])


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _points(count: int) -> str:
    """A number of points with three digits at most when it is large.

    >>> _points(950), _points(12_345), _points(1_234_567)
    ('950 points', '12.3 k points', '1.23 M points')
    """
    if count < 10_000:
        return _counted(count, "point")
    size, letter = (1e6, "M") if count >= 999_500 else (1e3, "k")
    return f"{count / size:.3g} {letter} points"
