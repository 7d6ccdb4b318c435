"""What differs between runs: their settings, and their metrics against one reference run.

Everything here takes plain values: settings as flat mappings of one run each (`{"model.width": 32}`), metrics as one
number per run. The order of the runs is the order of the mappings, and it is kept in every table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from explorer.analysis.settings import NOT_SET, Direction, setting_text


def settings_table(settings: Mapping[str, Mapping[str, object]], *, only_differences: bool = True) -> pd.DataFrame:
    """The settings of several runs side by side, as text.

    Args:
        settings: Run id to its flat settings. Keys need not be the same in every run.
        only_differences: Leave out the keys on which all runs agree.

    Returns:
        Index `setting` (sorted), one column of text per run id in the order given. A key that a run does not have
        reads `(not set)`, which differs from a key that is null or empty.
    """
    keys = sorted({key for flat in settings.values() for key in flat})
    rows: dict[str, list[str]] = {}
    for key in keys:
        texts = [setting_text(flat[key]) if key in flat else NOT_SET for flat in settings.values()]
        if not only_differences or len(set(texts)) > 1:
            rows[key] = texts
    index = pd.Index(list(rows), name="setting", dtype=object)
    return pd.DataFrame(list(rows.values()), index=index, columns=list(settings), dtype=object)


def metric_table(
    values: Mapping[str, Mapping[str, float | None]],
    reference: str,
    *,
    better: Mapping[str, Direction] | None = None,
) -> pd.DataFrame:
    """Every metric of every run, and its difference to the reference run.

    Args:
        values: Run id to metric name to one number; None or a missing name where the run has none.
        reference: The run id that the others are compared against.
        better: Which way a metric improves, for the metrics whose `verdict` is wanted.

    Returns:
        One row per metric (sorted) and run (order given): `metric`, `run`, `recorded` (False where the run has no
        number), `value` (NaN there), `difference` (value minus the reference's), `percent` (difference in percent of
        the size of the reference's value), `verdict` (`better`, `worse`, `same` or empty). Differences are NaN where
        either value is missing, NaN or infinite; `percent` also where the reference is zero. The reference's own
        differences are NaN.

    Raises:
        ValueError: `reference` is not one of the runs.
    """
    if reference not in values:
        raise ValueError(f"the reference {reference!r} is none of the compared runs: {', '.join(values) or 'no runs'}")
    metrics = sorted({name for numbers in values.values() for name in numbers})
    table = pd.DataFrame(
        {"metric": [m for m in metrics for _ in values], "run": [run for _ in metrics for run in values]}, dtype=object
    )
    table["recorded"] = [numbers.get(metric) is not None for metric in metrics for numbers in values.values()]
    table["value"] = [_number(numbers.get(metric)) for metric in metrics for numbers in values.values()]
    base = pd.Series([_number(values[reference].get(metric)) for metric in metrics for _ in values], dtype=float)
    comparable = (table["run"] != reference) & _is_finite(table["value"]) & _is_finite(base)
    table["difference"] = (table["value"] - base).where(comparable)
    table["percent"] = (100.0 * table["difference"] / base.abs()).where(base != 0.0)
    directions = better or {}
    table["verdict"] = [
        _verdict(difference, directions.get(metric))
        for metric, difference in zip(table["metric"], table["difference"], strict=True)
    ]
    return table


def _number(value: float | None) -> float:
    if value is None:
        return math.nan
    try:
        return float(value)
    except OverflowError:  # an integer beyond every double
        return math.inf if value > 0 else -math.inf


def _is_finite(values: pd.Series) -> pd.Series:
    return values.map(math.isfinite).astype(bool)


def _verdict(difference: float, better: Direction | None) -> str:
    if better is None or not math.isfinite(difference):
        return ""
    if difference == 0.0:
        return "same"
    return "better" if (difference < 0.0) == (better == "lower") else "worse"


def wide_metric_table(table: pd.DataFrame, runs: Sequence[str], fields: Iterable[str]) -> pd.DataFrame:
    """`metric_table` with one row per metric: columns are pairs (run id, field), runs in the order given.

    Args:
        table: What `metric_table` returned, whole: all runs of each metric follow each other.
        runs: Run ids of the table, in the order of the columns.
        fields: Which of `recorded`, `value`, `difference`, `percent`, `verdict` to show for each run.
    """
    shown = list(fields)
    places = {run: place for place, run in enumerate(dict.fromkeys(table["run"]))}
    by_field = {field: table[field].to_numpy().reshape(-1, max(len(places), 1)) for field in shown}
    columns = pd.MultiIndex.from_product([list(runs), shown], names=["run", "field"])
    index = pd.Index(table["metric"].to_numpy()[:: max(len(places), 1)], name="metric", dtype=object)
    nothing = np.empty(0, dtype=object)
    wide = {place: by_field[field][:, places[run]] if places else nothing for place, (run, field) in enumerate(columns)}
    return pd.DataFrame(wide, index=index).set_axis(columns, axis="columns")
