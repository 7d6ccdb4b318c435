"""Results that are kept: made once for the same histograms, and no reason to keep old ones in memory."""

from __future__ import annotations

import gc
import weakref

import numpy as np

from explorer.app.distributions_data import kept, shared
from explorer.storage.bins import histogram_of


def test_a_result_is_made_once_for_the_same_object_and_again_for_another() -> None:
    made = []
    one, other = histogram_of([1.0, 2.0]), histogram_of([1.0, 2.0])
    for rows in (one, one, other, one):
        kept(("test once", rows), lambda: made.append(1) or len(made))
    assert len(made) == 2


def test_histograms_of_a_run_that_has_grown_are_let_go() -> None:
    rows = histogram_of(np.linspace(0, 1, 100))
    assert shared([rows], "linear") is shared([rows], "linear")
    watched = weakref.ref(rows)
    del rows
    gc.collect()
    assert watched() is None
