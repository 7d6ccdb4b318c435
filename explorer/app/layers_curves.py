"""The picked layers as curves over steps: one chart for each statistic, several runs in the same chart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from explorer.app.curve_card import Card, curve_card
from explorer.app.layers_code import curve_lines
from explorer.app.layers_data import STATISTICS, LayerStatistics
from explorer.app.metrics_tables import Curve
from explorer.app.names import plain
from explorer.charts.look import NUM_COLOURS

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

MAX_LAYERS: Final = 8
MAX_RUNS: Final = 4  # as many as there are line patterns


def layer_curves(
    names: Sequence[str], statistic: str, runs: Sequence[tuple[str, LayerStatistics]]
) -> tuple[list[Curve], dict[str, int], list[str]]:
    """Return the curves of a statistic: colour by layer, pattern by run.

    Args:
        names: of the layers, at most eight.
        statistic: a key of `STATISTICS`.
        runs: label and statistics of each run, at most four.

    Returns:
        The curves, the place of each label in the palette, and what is missing, in words.
    """
    curves: list[Curve] = []
    places: dict[str, int] = {}
    missing: list[str] = []
    for pattern, (run, statistics) in enumerate(runs[:MAX_RUNS]):
        for colour, name in enumerate(names[:MAX_LAYERS]):
            series = statistics.series(name, statistic)
            label = plain(name, 60) if len(runs) == 1 else f"{plain(name, 48)} · {plain(run, 30)}"
            label = label if label not in places else f"{label} ({len(places)})"
            if series is None or not series.step.size:
                missing.append(label)
                continue
            places[label] = pattern * NUM_COLOURS + colour
            curves.append(Curve(label, series.step, series.value))
    return curves, places, missing


def draw_statistic(
    names: Sequence[str], statistic: str, runs: Sequence[tuple[RunInfo, str, LayerStatistics]], height: int = 230
) -> None:
    """Draw one statistic of the layers as a chart with its exports."""
    what = STATISTICS[statistic]
    curves, places, missing = layer_curves(names, statistic, [(label, data) for _, label, data in runs])
    told = f"not recorded for {', '.join(missing[:3])}" + (f" and {len(missing) - 3} more" if missing[3:] else "")
    card = Card(
        title=what.title,
        key=f"layers_{statistic}_{_digest(names, [info.run_id for info, _, _ in runs])}",
        log_y=what.log,
        height=height,
        note=told if missing else "",
        of=runs[0][1] if len(runs) == 1 else "",
        help=what.about or None,
        code=curve_lines(names, statistic, {label: str(info.path) for info, label, _ in runs}),
    )
    curve_card(curves, places, card)


def _digest(*texts: Sequence[str]) -> str:
    joined = "\0".join("\0".join(part) for part in texts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:12]
