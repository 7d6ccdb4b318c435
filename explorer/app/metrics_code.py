"""The pandas lines that draw a chart again from the same files, in a notebook or a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from explorer.app.metrics_options import NO_GROUP, RELATIVE, STEP, WALL
from explorer.app.metrics_series import group_of, x_metric

if TYPE_CHECKING:
    from explorer.app.metrics_chart import Picture, Shown
    from explorer.reading.catalogue import RunInfo

_SECONDS: Final = {"s": 1, "min": 60, "h": 3_600, "days": 86_400}
_MEANS: Final = """
means = {}
for group in dict.fromkeys(group for group, _ in curves):
    members = [c[np.isfinite(c)] for key, c in curves.items() if key[0] == group]
    members = [c[~c.index.duplicated(keep="last")] for c in members]
    table = pd.concat(members, axis=1).sort_index().interpolate("index", limit_area="inside")
    means[group] = pd.DataFrame({"mean": table.mean(axis=1), "std": table.std(axis=1), "n": table.count(axis=1)})
curves = {group: table["mean"] for group, table in means.items()}
""".strip()


def pandas_lines(made: Picture, shown: Shown) -> str:
    """Return Python that leaves the curves of the chart in `curves` and draws them; names from files are quoted."""
    options = shown.options
    drawn = set(made.prepared.run_ids)
    infos = [info for info in shown.infos if info.run_id in drawn]
    grouped = options.group != NO_GROUP
    lines = ["import numpy as np", "import pandas as pd", "from explorer import open_run", ""]
    lines += [f"metric = {made.metric!r}", *_runs(infos, shown, grouped), "curves = {}"]
    lines.append("for key, path in runs.items():")
    lines += [f"    {line}" for line in _curve(made, infos, options.x)]
    if grouped:
        lines.append(_MEANS)
    if made.window is not None:
        low, high = made.window
        ends = f"{low!r}, {high!r}"
        if options.x == WALL:
            ends = f"pd.Timestamp({low!r}, unit='ms'), pd.Timestamp({high!r}, unit='ms')"
        lines.append(f"low, high = {ends}")
        lines.append("curves = {key: c[(c.index >= low) & (c.index <= high)] for key, c in curves.items()}")
    lines += ["ax = None", "for key, curve in curves.items():"]
    lines.append(f"    ax = curve.plot(ax=ax, label=key, legend=True, logx={options.log_x}, logy={options.log_y})")
    return "\n".join(lines)


def _runs(infos: list[RunInfo], shown: Shown, grouped: bool) -> list[str]:
    out = ["runs = {"]
    for info in infos:
        label = shown.labels[info.run_id]
        key = f"({group_of(info, shown.options.group)!r}, {label!r})" if grouped else repr(label)
        out.append(f"    {key}: {str(info.path)!r},")
    return [*out, "}"]


def _curve(made: Picture, infos: list[RunInfo], x: str) -> list[str]:
    """The body of the loop over runs: leaves one run's curve in `curves`."""
    other = next((name for info in infos if (name := x_metric(info, x)) is not None), None)
    out = ["run = open_run(path)"]
    if other is None or other == made.metric:
        out.append("table = run.scalars(metric)")
    else:
        out.append(f"table = run.scalars([metric, {other!r}])")
    if x == STEP:
        out.append("x = table['step']")
    elif x == WALL:
        out.append("x = table['wall_time']")
    elif x == RELATIVE:
        out.append("start = pd.Timestamp(run.info.created).tz_localize(None)")
        out.append(f"x = (table['wall_time'] - start) / pd.Timedelta(seconds={_SECONDS[made.prepared.x_unit]})")
    else:
        out.append(f"x = table[{(other or made.metric)!r}].ffill()")
    out.append("y = table[metric]")
    if made.prepared.halflife:
        out += [
            "finite = np.isfinite(y)",
            "clock = pd.to_datetime(table['step'], unit='s')",
            f"halflife = pd.Timedelta(seconds={made.prepared.halflife!r})",
            "y = y.where(finite).ewm(halflife=halflife, times=clock).mean().where(finite)",
        ]
    out.append("curve = pd.Series(y.to_numpy(), index=x.to_numpy())")
    out.append("curves[key] = curve[(table[metric].notna() & x.notna()).to_numpy()].sort_index(kind='stable')")
    return out
