"""The classes of the batches that were trained on: how often each label came, over the steps and in all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import streamlit as st

from explorer.app import live, shell
from explorer.app.caching import tensor_store
from explorer.app.csv_text import csv_bytes
from explorer.app.names import count_text, esc, plain, run_labels
from explorer.app.picture_card import PictureCard, name_ticks, picture_card, step_columns
from explorer.app.run_text import value_text
from explorer.app.tensor_kinds import LABELS, say_problems
from explorer.charts import arrow
from explorer.charts.pictures import Cells, PictureLook, blocks_of_cells

if TYPE_CHECKING:
    from explorer.analysis.shared_axis import Histograms
    from explorer.reading.catalogue import RunInfo

MAX_CLASSES: Final = 64
MAX_RUNS: Final = 8
MAX_LISTED: Final = 1_000
_ROW_PX: Final = 16
_MIN_PX: Final = 80
_NUM_TICKS: Final = 8

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def labels(infos: Sequence[RunInfo], name: str) -> None:
    """Draw the labels `name` of each run that has counted them, again while one is running."""

    def draw(now: Sequence[RunInfo]) -> None:
        titles = run_labels(now)
        read = ((info, tensor_store().histograms(info.path, name, LABELS)) for info in now)
        found = [(info, rows) for info, rows in read if len(rows)]
        if not found:
            st.info(f"{esc(name, 120)} are not counted in the selected runs.", icon=":material/search_off:")
            return
        for info, rows in found[:MAX_RUNS]:
            with shell.guard(f"The labels of {titles[info.run_id]}"):
                _card(info, titles[info.run_id], name, rows)
        if len(found) > MAX_RUNS:
            st.caption(f"The newest {MAX_RUNS} of {len(found)} runs are drawn; select fewer in the sidebar.")
        say_problems(now)

    live.follow(infos, draw, "The labels")


class Classes(NamedTuple):
    """What came in all steps together.

    Attributes:
        label: the classes, ascending: int64[c].
        total: how often each came: int64[c].
        num_steps: at how many steps: int64[c].
    """

    label: Ints
    total: Ints
    num_steps: Ints


def count_classes(rows: Histograms) -> Classes:
    """Return what came. Labels may be tokens: there is no table of all classes by all steps, which may fill memory."""
    label, place = np.unique(rows.bins.astype(np.int64), return_inverse=True)
    total = np.zeros(len(label), np.int64)
    np.add.at(total, place.reshape(-1), rows.counts)
    return Classes(label, total, np.bincount(place.reshape(-1)[rows.counts > 0], minlength=len(label)))


def counts_by_step(rows: Histograms, chosen: Ints) -> Ints:
    """Return how often each of these classes, ascending, came at each step: int64[classes, n]."""
    counts = np.zeros((len(chosen), len(rows)), np.int64)
    step = np.repeat(np.arange(len(rows)), np.diff(rows.offsets))
    asked = np.isin(rows.bins, chosen)
    np.add.at(counts, (np.searchsorted(chosen, rows.bins[asked]), step[asked]), rows.counts[asked])
    return counts


def _card(info: RunInfo, title: str, name: str, rows: Histograms) -> None:
    classes = count_classes(rows)
    shown = np.sort(np.argsort(-classes.total, kind="stable")[:MAX_CLASSES])
    counts = counts_by_step(rows, classes.label[shown])
    columns = step_columns(len(shown), rows.step)
    of_columns = np.array([rows.n[part].sum() for part in columns], np.float64)
    summed = np.stack([counts[:, part].sum(axis=1) for part in columns], axis=1)
    shares = np.divide(summed, of_columns, out=np.zeros(summed.shape), where=of_columns > 0)
    named = [f"{label:,}" for label in classes.label[shown].tolist()]
    height = max(len(shown) * _ROW_PX, _MIN_PX)
    card = PictureCard(
        title=f"{plain(name, 60)}: {title}",
        key=f"labels_{info.run_id}_{len(shown)}",
        caption=caption_text(rows, classes, len(shown), max(len(part) for part in columns)),
        look=PictureLook(
            tips=("class", "step", "share", "labels"), height=height, x_title="step", y_title="class",
            legend="share of a step's labels",
        ),
        of=title,
        make_csv=lambda: to_csv(rows),
        code=code_lines(str(info.path), name),
    )  # fmt: skip
    gap = max(1, -(-len(columns) // _NUM_TICKS))
    ticks = [(place + 0.5, f"{int(rows.step[columns[place][0]]):,}") for place in range(0, len(columns), gap)]
    cells = _cells(named, rows.step, columns, summed, of_columns)
    ends = (0.0, float(shares.max(initial=0.0)) or 1.0)
    picture_card(shares, ends, cells, ticks, name_ticks(named, height), card)
    st.dataframe(
        totals_table(rows, classes), hide_index=True, height="content" if len(classes.label) <= 10 else 300,
        column_config={
            "labels": st.column_config.NumberColumn(format="localized"),
            "share": st.column_config.NumberColumn(format="percent"),
            "steps without": st.column_config.NumberColumn(format="localized", help="Counted steps that lack it"),
        },
        alt=f"How often each class of {plain(name, 60)} came in all counted steps",
    )  # fmt: skip


def caption_text(rows: Histograms, classes: Classes, num_shown: int, most: int) -> str:
    """Return what is drawn, plain text."""
    counted, every, num = int(classes.total.sum()), int(rows.n.sum()), len(classes.label)
    parts = [f"{num:,} {'class' if num == 1 else 'classes'}"]
    parts += [f"the {num_shown} most common are drawn"] if num_shown < num else []
    parts += [f"the {MAX_LISTED:,} most common are listed, all are in the CSV"] if num > MAX_LISTED else []
    parts.append(f"{count_text(every, 'label')} at {count_text(len(rows), 'step')}")
    parts += [f"{every - counted:,} beyond -32,768 to 32,767 in no class"] if every > counted else []
    parts += [f"each column up to {most:,} steps together"] if most > 1 else []
    return " · ".join(parts)


def totals_table(rows: Histograms, classes: Classes) -> pa.Table:
    """Return one row for each of the most common classes: class, labels, share, steps without."""
    total, every = classes.total, max(int(rows.n.sum()), 1)
    order = np.argsort(-total, kind="stable")[:MAX_LISTED]
    without = len(rows) - classes.num_steps
    return arrow.table(
        {
            "class": arrow.texts([f"{label:,}" for label in classes.label[order].tolist()]),
            "labels": arrow.numbers(total[order].tolist(), pa.int64()),
            "share": arrow.numbers((total[order] / every).tolist()),
            "steps without": arrow.numbers(without[order].tolist(), pa.int64()),
        }
    )


def to_csv(rows: Histograms) -> bytes:
    """Return one line for each step and class that came at it."""
    came = np.flatnonzero(rows.counts)
    step = np.repeat(rows.step, np.diff(rows.offsets))[came]
    return csv_bytes(["step", "class", "labels"], np.stack([step, rows.bins[came], rows.counts[came]], axis=1).tolist())


def code_lines(path: str, name: str) -> str:
    """Return Python that leaves the counts in `table`, a row for each step and a column for each class."""
    return "\n".join(
        [
            "import numpy as np",
            "import pandas as pd",
            "from explorer import open_run",
            "",
            f"rows = open_run({path!r}).histogram({name!r}, kind='labels')",
            "step = np.repeat(rows.step, np.diff(rows.offsets))",
            "table = pd.crosstab(step, rows.bins, values=rows.counts, aggfunc='sum').fillna(0)",
        ]
    )


def _cells(named: Sequence[str], step: Ints, columns: Sequence[Ints], counts: Ints, of_columns: Floats) -> Cells:
    """What the tooltip tells of each class, or of several, at each column, or at several."""
    tall, wide = blocks_of_cells(len(named), len(columns))
    texts: list[list[str]] = [[], [], [], []]
    ends: list[tuple[int, int, int, int]] = []
    for top in range(0, len(named), tall):
        bottom = min(top + tall, len(named))
        for left in range(0, len(columns), wide):
            right = min(left + wide, len(columns))
            first, last = int(step[columns[left][0]]), int(step[columns[right - 1][-1]])
            number, every = int(counts[top:bottom, left:right].sum()), float(of_columns[left:right].sum())
            texts[0].append(named[top] if bottom - top == 1 else f"{named[top]} to {named[bottom - 1]}")
            texts[1].append(f"{first:,}" if first == last else f"{first:,} to {last:,}")
            texts[2].append(f"{value_text(100 * number / every if every else 0.0, digits=3)} %")
            texts[3].append(f"{number:,}")
            ends.append((left, right, top, bottom))
    x, x2, y, y2 = np.array(ends, np.float64).reshape(-1, 4).T
    return Cells(x, x2, y, y2, texts)
