"""What the heat map of drift can be taken away as: PNG, SVG, CSV, and the lines that reproduce it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from explorer.app.colours import LIGHT, LIGHT_RAMP
from explorer.app.csv_text import csv_bytes
from explorer.app.distributions_distances import SHORT, TITLES
from explorer.app.drift_choices import PREVIOUS, RUN, STEP, DriftChoices
from explorer.app.drift_data import Drifted
from explorer.app.export_menu import Export, export_menu, tables
from explorer.charts.drift import drift_spec
from explorer.charts.export import standalone


def menu(
    found: Drifted,
    drawn: Sequence[int],
    choices: DriftChoices,
    against: str,
    data: Callable[[], Mapping[str, bytes]],
    paths: tuple[str, str | None],
) -> None:
    """Draw the button that opens the exports.

    Args:
        found: the drift.
        drawn: the rows of the heat map.
        choices: what is compared with what.
        against: the reference in words.
        data: makes the tables of the heat map in light colours.
        paths: folders of the run and of the one compared with.
    """
    export_menu(
        Export(
            name="drift",
            stem=f"drift-{choices.run_id}-{choices.kind}-{choices.measure}",
            spec=lambda: picture_spec(drawn, choices, against, data()),
            table=lambda: to_csv(found, drawn),
            about_table="Every layer and step: distance, what chance alone gives, and the step compared with",
            code=lambda: lines(found, choices, paths),
        )
    )


def picture_spec(
    drawn: Sequence[int], choices: DriftChoices, against: str, data: Mapping[str, bytes]
) -> dict[str, Any]:
    """Return the specification of the picture, in the light theme."""
    spec = drift_spec(len(drawn), SHORT[choices.measure])
    title = f"{TITLES[choices.measure]} from {against}"
    return standalone(spec, tables(data), LIGHT, LIGHT_RAMP, title, "grey: within chance", int(spec["height"]) + 60)


def to_csv(found: Drifted, rows: Sequence[int]) -> bytes:
    """Return one line for each tensor and step with a distance, every digit."""
    header = ["tensor", "step", "reference_step", "distance", "by_chance_up_to", "unusual"]
    return csv_bytes(header, _cells(found, rows))


def _cells(found: Drifted, rows: Sequence[int]) -> Iterator[tuple[object, ...]]:
    matrix = found.matrix
    for row in rows:
        for column in np.flatnonzero(np.isfinite(matrix.values[row])).tolist():
            step, reference = int(matrix.steps[column]), int(matrix.reference_steps[row, column])
            numbers = (float(part[row, column]) for part in (matrix.values, matrix.null))
            yield found.names[row], step, reference, *numbers, "true" if found.alarms[row, column] else "false"


def lines(found: Drifted, choices: DriftChoices, paths: tuple[str, str | None]) -> str:
    """Return Python that leaves the distances in `table`, a row for each tensor and a column for each step."""
    path, other = paths
    out = [
        "import pandas as pd",
        "from explorer import open_run",
        "from explorer.analysis.drift import drift_matrix",
        "",
    ]
    out += ["def tensors(path):", "    run = open_run(path)"]
    out.append(f"    names = run.tensors(kind={choices.kind!r})['name'].unique()")
    out.append(f"    return {{name: run.histogram(name, kind={choices.kind!r}) for name in names}}")
    reference = "'previous'" if choices.reference == PREVIOUS else "'first'"
    if choices.reference == RUN:
        reference = f"tensors({other!r})"
    elif choices.reference == STEP:
        reference = str(int(found.matrix.reference_steps.max(initial=0)))
    out += ["", f"found = drift_matrix(tensors({path!r}), {reference}, {choices.measure!r})"]
    out.append("table = pd.DataFrame(found.values, index=found.names, columns=found.steps)")
    out.append("chance = pd.DataFrame(found.null, index=found.names, columns=found.steps)")
    return "\n".join(out)
