"""The Python lines that draw a card of the page Distributions again from the same files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from explorer.app.distributions_choices import FAN, HEAT
from explorer.app.distributions_data import NUM_BINS
from explorer.charts.distribution_tables import ridge_samples
from explorer.charts.distributions import PERCENTS

if TYPE_CHECKING:
    from explorer.app.distributions_pictures import Picture


def lines(picture: Picture) -> str:
    """Return Python that leaves what the card draws in a table or a matrix and draws it; names are quoted."""
    choices, rows = picture.choices, picture.rows
    read = [
        "from explorer import open_run",
        "",
        f"run = open_run({str(picture.sampled.info.path)!r})",
        f"rows = run.histogram({choices.tensor!r}, kind={choices.kind!r})",
    ]
    if len(rows) != len(picture.sampled.rows):
        first, last = int(rows.step[0]), int(rows.step[-1])
        read.append(f"rows = rows.take((rows.step >= {first}) & (rows.step <= {last}))")
    head = ["import numpy as np", "import pandas as pd"] if choices.view == FAN else ["import numpy as np"]
    if choices.view == FAN:
        return "\n".join(
            [*head, "from explorer.analysis.quantiles import histogram_quantiles", *read, *_fan(choices.scale)]
        )
    head += ["import matplotlib.pyplot as plt", "from explorer.analysis.densities import heat"]
    body = _heat(choices.scale) if choices.view == HEAT else _ridges(len(rows), choices.scale)
    return "\n".join([*head, *read, *body])


def _fan(scale: str) -> list[str]:
    percents = ", ".join(str(percent) for percent in PERCENTS)
    return [
        f"percents = [{percents}]",
        "values = histogram_quantiles(rows, np.array(percents) / 100)",
        'table = pd.DataFrame(values, index=rows.step, columns=[f"{p} %" for p in percents])',
        'table["min"], table["max"] = rows.min, rows.max',
        f"table.plot(xlabel='step', logy={'sym' if scale == 'symlog' else False!r})",
    ]


def _heat(scale: str) -> list[str]:
    return [
        f"picture = heat(rows, {NUM_BINS}, {scale!r})",
        "fig, ax = plt.subplots()",
        "ax.pcolormesh(rows.step, (picture.edges[1:] + picture.edges[:-1]) / 2, np.sqrt(np.maximum(picture.share, 0)))",
        f"ax.set(xlabel='step', yscale={'symlog' if scale == 'symlog' else 'linear'!r})",
    ]


def _ridges(num: int, scale: str) -> list[str]:
    return [
        f"picked = np.linspace(0, len(rows) - 1, {len(ridge_samples(num))}).round().astype(int)",
        f"picture = heat(rows.take(picked), 60, {scale!r})",
        "middle = (picture.edges[1:] + picture.edges[:-1]) / 2",
        "for k, share in enumerate(picture.share.T / picture.share.max()):",
        "    plt.plot(middle, len(picked) - k + 2.6 * share, label=str(rows.step[picked[k]]))",
    ]
