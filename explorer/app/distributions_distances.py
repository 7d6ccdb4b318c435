"""How far two distributions are from each other, in four measures, each beside what chance alone would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import streamlit as st

from explorer.analysis.drift import MEASURES, Measure, drift_over_steps
from explorer.app.distributions_data import kept
from explorer.app.names import esc
from explorer.charts import arrow
from explorer.charts.value_axis import number_text

if TYPE_CHECKING:
    import pyarrow as pa

    from explorer.app.distributions_outlines import Outline

SHORT: Final[dict[str, str]] = {"wasserstein": "W1/sd", "ks": "KS", "js_distance": "JS", "psi": "PSI"}
TITLES: Final[dict[str, str]] = {
    "wasserstein": "Wasserstein distance / sd",
    "ks": "Kolmogorov-Smirnov",
    "js_distance": "Jensen-Shannon distance",
    "psi": "Population stability index",
}
MEANING: Final[dict[str, str]] = {
    "wasserstein": "how far values moved on average, in standard deviations of the reference",
    "ks": "largest difference between the shares of values below any number, 0 to 1",
    "js_distance": "0 for the same distribution, 1 for two that share no value",
    "psi": "change of ten groups of the reference; by custom small below 0.1, large above 0.25",
}
CHANCE: Final = (
    "By chance: what two samples of as many independent values from one distribution stay under in 99 of 100 cases. "
    "Values of one tensor are not independent, so a little more than this says little."
)


class Pair(NamedTuple):
    """A distribution and what it is compared with."""

    one: Outline
    reference: Outline


class Distance(NamedTuple):
    """A distance, and the one that chance alone stays under in 99 of 100 cases; NaN where nothing is finite."""

    value: float
    null: float
    absolute: bool


def distance(pair: Pair, measure: Measure) -> Distance:
    """Return how far the two are apart."""
    one, reference = pair.one.histogram, pair.reference.histogram

    def make() -> Distance:
        found = drift_over_steps(one, reference, measure)
        return Distance(float(found.values[0]), float(found.null[0]), bool(found.absolute[0]))

    return kept(("distance", one, reference, measure), make)


def distances(pairs: Sequence[Pair]) -> None:
    """Draw the distances of all pairs with what they mean; nothing when there is no pair."""
    if not pairs:
        return
    for pair in pairs[:2]:
        st.caption(f"{esc(pair.one.name)} against {esc(pair.reference.name)}: {_told(pair)}")
    st.dataframe(
        distances_table(pairs),
        hide_index=True,
        height="content",
        alt="Distances between the distributions, beside what chance alone gives",
        column_config=_config(),
    )


def _config() -> dict[str, Any]:
    columns = st.column_config
    return {
        "measure": columns.TextColumn(
            "measure", help="  \n".join(f"{SHORT[name]}: {MEANING[name]}" for name in MEASURES)
        ),
        "by chance": columns.TextColumn("by chance up to", help=CHANCE),
        **{SHORT[name]: columns.TextColumn(SHORT[name], help=f"{MEANING[name]}. {CHANCE}") for name in MEASURES},
    }


def distances_table(pairs: Sequence[Pair]) -> pa.Table:
    """Return one row for each measure of one pair; of several pairs one row each, with the measures side by side."""
    if len(pairs) == 1:
        rows: list[tuple[str, ...]] = [(SHORT[measure], *_texts(distance(pairs[0], measure))) for measure in MEASURES]
        names: tuple[str, ...] = ("measure", "distance", "by chance", "verdict")
    else:
        names = ("compared", "with", *(SHORT[measure] for measure in MEASURES))
        rows = [
            (pair.one.name, pair.reference.name, *(_beside(distance(pair, measure)) for measure in MEASURES))
            for pair in pairs
        ]
    columns = zip(*rows, strict=True)
    return arrow.table({name: arrow.texts(list(values)) for name, values in zip(names, columns, strict=True)})


def verdict(value: float, null: float) -> str:
    """Say whether a distance is more than chance."""
    if np.isnan(value) or np.isnan(null):
        return "no finite values"
    if value == 0:
        return "the same"
    return "more than chance" if value > null else "within chance"


def _texts(found: Distance) -> tuple[str, str, str]:
    unit = " (unit of the values)" if found.absolute else ""
    if np.isnan(found.value):
        return "not known", "", verdict(found.value, found.null)
    return number_text(found.value) + unit, number_text(found.null), verdict(found.value, found.null)


def _beside(found: Distance) -> str:
    value, null, _ = _texts(found)
    return f"{value} (chance {null})" if null else value


def _told(pair: Pair) -> str:
    """The Wasserstein distance as a sentence."""
    found = distance(pair, "wasserstein")
    if np.isnan(found.value):
        return "no distance, since one of them has no finite value."
    size = number_text(found.value)
    moved = (
        f"values moved by {size} on average (the reference is constant, so this is in the unit of the values)"
        if found.absolute
        else f"values moved by {size} standard deviations on average"
    )
    return f"{moved}; chance alone gives up to {number_text(found.null)} for as many values."
