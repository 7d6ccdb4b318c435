"""The Python lines that give a chart or a picture of layers again from the same files; names from files are quoted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from explorer.app.layers_data import STATISTICS


class Side(NamedTuple):
    """One series of a chart by depth: what it is called, whose it is, its step, and its layers in their order."""

    label: str
    path: str
    step: int
    names: Sequence[str]


def curve_lines(names: Sequence[str], statistic: str, runs: Mapping[str, str]) -> str:
    """Return Python that draws a statistic of these layers over steps; `runs` are labels and folders."""
    what = STATISTICS[statistic]
    lines = ["from explorer import open_run", "", "ax = None", "runs = {"]
    lines += [f"    {label!r}: {path!r}," for label, path in runs.items()]
    lines += ["}", "for label, path in runs.items():"]
    lines += [f"    table = open_run(path).tensors({what.kind!r})"]
    lines += [f"    for name in {list(names)!r}:"]
    lines += ["        one = table[table['name'] == name].set_index('step')"]
    value = _value(statistic, "one")
    lines += [f"        ax = ({value}).dropna().plot(ax=ax, label=f'{{name}} {{label}}', legend=True, logy={what.log})"]
    return "\n".join(lines)


def grid_lines(names: Sequence[str], statistic: str, path: str) -> str:
    """Return Python that leaves a statistic in `grid`: a row for each layer, a column for each step."""
    lines = ["from explorer import open_run", ""]
    lines += [f"table = open_run({path!r}).tensors({STATISTICS[statistic].kind!r})"]
    lines += [f"table['value'] = {_value(statistic, 'table')}"]
    lines += [f"names = {list(names)!r}"]
    lines += ["grid = table.pivot(index='name', columns='step', values='value').reindex(names)"]
    return "\n".join(lines)


def depth_lines(statistic: str, sides: Sequence[Side]) -> str:
    """Return Python that leaves a statistic in `table`: a row for each layer of the first side, a column for each."""
    what = STATISTICS[statistic]
    lines = ["import pandas as pd", "from explorer import open_run", "", "sides = ["]
    lines += [f"    ({side.label!r}, {side.path!r}, {side.step}, {list(side.names)!r})," for side in sides]
    lines += ["]", "columns = {}", "for label, path, step, names in sides:"]
    lines += [f"    rows = open_run(path).tensors({what.kind!r})"]
    lines += ["    rows = rows[rows['step'] == step].set_index('name').reindex(names)"]
    lines += [f"    columns[label] = ({_value(statistic, 'rows')}).to_numpy()"]
    lines += ["table = pd.DataFrame(columns, index=sides[0][3])"]
    lines += [f"table.plot.barh(logx={what.log})"]
    return "\n".join(lines)


def _value(statistic: str, table: str) -> str:
    what = STATISTICS[statistic]
    value = f"{table}[{what.column!r}]" + (f" / {table}[{what.per!r}]" if what.per else "")
    return f"1 - {value}" if what.one_minus else value
