"""What distributions over each other can be taken away as: PNG, SVG, CSV, and the lines that reproduce them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from explorer.app.colours import LIGHT
from explorer.app.csv_text import csv_bytes
from explorer.app.distributions_choices import Choices
from explorer.app.export_menu import Export, export_menu, tables
from explorer.charts.export import standalone
from explorer.charts.value_axis import ValueAxis

if TYPE_CHECKING:
    from explorer.app.distributions_outlines import Outline

_HEIGHT: Final = 360


def menu(
    key: str,
    choices: Choices,
    drawn: Sequence[Outline],
    chart: tuple[Mapping[str, Any], Mapping[str, bytes]],
    axis: ValueAxis,
) -> None:
    """Draw the button that opens the exports.

    Args:
        key: of the chart.
        choices: kind, tensor and scale.
        drawn: the distributions.
        chart: specification and tables.
        axis: of the values.
    """
    spec, data = chart
    told = ", ".join(outline.name for outline in drawn)
    export_menu(
        Export(
            name=f"{key}_outlines",
            stem=f"{choices.tensor}-{choices.kind}-{drawn[0].step}",
            spec=lambda: standalone(spec, tables(data), LIGHT, (), choices.tensor, told, _HEIGHT),
            table=lambda: to_csv(data, axis),
            about_table="The share of values in each bar; exact zeros are a line of their own",
            code=lambda: lines(choices, drawn, bar_edges(data, axis)),
        )
    )


def bar_edges(data: Mapping[str, bytes], axis: ValueAxis) -> list[float]:
    """Return the values at the ends of the bars that are drawn, ascending; those of the axis when no bar is."""
    places = sorted(set(tables(data)["bars"]["x"].to_pylist())) or [0.0, axis.end]
    found: list[float] = np.interp(places, np.arange(len(axis.edges)), axis.edges).tolist()
    return found


def to_csv(data: Mapping[str, bytes], axis: ValueAxis) -> bytes:
    """Return one line for each bar of each distribution, and one for what stands on a single value.

    Columns: run, which (`now`, or `then` for what it is compared with), low, high, share of the finite values.
    """
    found = tables(data)
    places = np.arange(len(axis.edges))
    ends = np.interp(found["bars"]["x"].to_numpy(), places, axis.edges).tolist()
    bars = found["bars"].to_pylist()
    rows: list[list[object]] = [
        [row["series"], row["when"], ends[k], ends[k + 1], row["y"]]
        for k, row in enumerate(bars[:-1])
        if (row["series"], row["when"]) == (bars[k + 1]["series"], bars[k + 1]["when"])
    ]
    high = found["view"]["y_high"][0].as_py()
    for atom in found["atoms"].to_pylist():
        zero = atom["text"].endswith("exactly 0")
        at = 0.0 if zero else float(np.interp(atom["x"], places, axis.edges))
        rows.append([atom["series"], atom["when"], at, at, atom["y"] / high])
    return csv_bytes(["run", "which", "low", "high", "share"], rows)


def lines(choices: Choices, drawn: Sequence[Outline], edges: Sequence[float]) -> str:
    """Return Python that leaves the share of values in each bar in `table` and draws it; names are quoted."""
    even = np.allclose(np.diff(edges), np.diff(edges)[0])
    ends = f"np.linspace({edges[0]!r}, {edges[-1]!r}, {len(edges)})" if even else repr(list(edges))
    out = ["import numpy as np", "import pandas as pd", "from explorer import open_run"]
    out += ["from explorer.analysis.densities import density", "", "samples = ["]
    out += [f"    ({outline.name!r}, {str(outline.sampled.info.path)!r}, {outline.step})," for outline in drawn]
    out += [
        "]",
        f"edges = {ends}",
        "table = pd.DataFrame(index=pd.Index(edges[:-1], name='from'))",
        "for label, path, step in samples:",
        f"    rows = open_run(path).histogram({choices.tensor!r}, kind={choices.kind!r})",
        "    row = rows.row(int(np.flatnonzero(rows.step == step)[0]))",
        "    table[label] = density(row, edges).share  # exact zeros are in the bar that holds 0",
        "table.plot(drawstyle='steps-post')",
    ]
    return "\n".join(out)
