"""What the page Distributions shows: one tensor, and how. All of it is in the address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import streamlit as st

from explorer.app import linked, links
from explorer.app.names import esc, plain
from explorer.app.tensor_kinds import KINDS, LABELS, ONE, tensors_of
from explorer.charts.value_axis import Scale

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

HEAT: Final = "heat"
FAN: Final = "fan"
RIDGES: Final = "ridges"
VIEWS: Final = {HEAT: "Heat map", FAN: "Quantiles", RIDGES: "Ridges"}
SCALES: Final = {"linear": "Linear", "symlog": "Symlog", "quantile": "Quantile"}
_TITLES: Final = {**KINDS, LABELS: "Labels of batches"}
_ONE: Final = {**ONE, LABELS: "series of labels"}
_SCALE_HELP: Final = (
    "Linear: values as they are. Symlog: linear around 0 and powers of ten beyond, so that small and large values are "
    "both seen. Quantile: every row holds the same share of all values that are shown, so that only changes are seen."
)


@dataclass(frozen=True)
class Choices:
    """One tensor and how it is drawn.

    Attributes:
        kind: `param`, `grad`, `update` or `activation`; or `labels`, which have neither view nor scale.
        tensor: its name.
        view: `heat`, `fan` or `ridges`.
        scale: of the values.
    """

    kind: str
    tensor: str
    view: str = HEAT
    scale: Scale = "linear"


def choose(infos: Sequence[RunInfo]) -> Choices | None:
    """Draw the controls of the page and return what they say; None when no run has recorded a tensor."""
    offered = tensors_of(infos, with_labels=True)
    if not offered:
        return None
    asked_kind, asked = linked.unknown(links.KIND, offered), None
    with st.container(horizontal=True, vertical_alignment="top"):
        with st.container(width=140):
            kind = linked.select("Kind", links.KIND, {kind: _TITLES[kind] for kind in offered}, next(iter(offered)))
        names = offered[kind]
        asked = linked.unknown(links.TENSOR, names)
        with st.container(width=340):
            tensor = linked.select("Tensor", links.TENSOR, names, names[0], format_func=plain)
        view, scale = HEAT, "linear"
        if kind != LABELS:
            view = linked.segments("View", links.VIEW, VIEWS, HEAT)
            scale = linked.segments("Values", links.SCALE, SCALES, "linear", help=_SCALE_HELP)
    if asked_kind is not None:
        known = _TITLES.get(asked_kind, asked_kind).lower()
        st.info(
            f"None of the selected runs has recorded {esc(known, 60)}, which the link names. "
            f"{_TITLES[kind]} are shown.",
            icon=":material/link_off:",
        )
    elif asked is not None:
        st.info(
            f"None of the selected runs has recorded {esc(asked, 120)} as {_article(_ONE[kind])}. "
            f"{esc(tensor, 120)} is shown.",
            icon=":material/link_off:",
        )
    return Choices(kind, tensor, view, cast(Scale, scale))


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
