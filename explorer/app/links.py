"""Every link of the app: the one place where addresses are built and read.

State that somebody may want to share lives in the query of the address. A value read from there is text that
anybody may have written: it is looked up among what is known, never used as a path or an expression.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import quote, unquote, urlencode

import streamlit as st

# The pages by name, with their path in the address. The Runs page is the default one.
PAGES: Final = {
    "runs": "",
    "metrics": "metrics",
    "run": "run",
    "compare": "compare",
    "layers": "layers",
    "weights": "weights",
    "model": "model",
    "distributions": "distributions",
    "drift": "drift",
    "inference": "inference",
}

# The keys of the query. Widgets with bind="query-params" use them as their key.
RUNS: Final = "runs"  # selected runs, ids with commas between; NO_RUNS when none is selected
RUN: Final = "run"  # the one run that the Run page shows
REFERENCE: Final = "ref"  # the run that others are compared to
X_AXIS: Final = "x"  # step, relative, wall, epoch or a metric
SMOOTHING: Final = "smooth"  # 0 (raw) to 0.99
SEARCH: Final = "q"  # regular expression over metric names (Metrics, Compare, Run)
LOG_X: Final = "logx"
LOG_Y: Final = "logy"
COLUMNS: Final = "cols"  # columns of the runs table
SORT: Final = "sort"  # column of the runs table, with a leading minus for descending
FILTER: Final = "filter"  # filter expression of the runs table
FIND: Final = "find"  # free text search in the runs table
TREND: Final = "trend"  # metric of the sparkline column
TENSOR: Final = "tensor"  # name of a tensor, with wrappers' prefixes taken off (Distributions, Drift)
KIND: Final = "kind"  # param, grad, update or activation
STEP: Final = "at"  # the step that is looked at; the last one when absent
STEPS: Final = "steps"  # first and last step shown, with a comma between; all when absent
VIEW: Final = "view"  # heat, fan or ridges
SCALE: Final = "scale"  # of values: linear, symlog or quantile
AGAINST: Final = "against"  # what a distribution is compared with: first, previous, step or runs
THEN: Final = "then"  # the step compared with, where AGAINST says step
MEASURE: Final = "measure"  # wasserstein, ks, js_distance or psi
ORDER: Final = "order"  # of layers: model, or changed for those first that changed most
OTHER_RUN: Final = "with"  # the run that the one of `RUN` is compared with (Layers, Weights)
BEFORE: Final = "before"  # steps of the two snapshots (Weights)
AFTER: Final = "after"
EXAMPLE: Final = "example"  # number of the recorded example (Inference)
INPUT: Final = "input"  # path of the input that is shown and edited (Inference)
DEVICE: Final = "device"  # where the model runs (Inference)
RECIPE: Final = "recipe"  # edits of weights, activations and inputs, see `edits.recipe.to_text` (Inference)
OFF: Final = "off"  # edits of the recipe that are switched off (Inference)
INK: Final = "ink"  # pixels that were drawn over the example (Inference)
OUTPUT: Final = "output"  # path of the output that is shown (Inference)
SWEPT: Final = "sweep"  # what is moved over its range (Inference)
CONTINUE: Final = "continue"  # whether the text is continued (Inference)
METHOD: Final = "method"  # of attribution (Inference)
TARGET: Final = "target"  # class that is attributed (Inference)
MODULE: Final = "module"  # path of the module that is looked at (Model, Inference)
NODE: Final = "node"  # the operator, input or output that is looked at (Model, Inference)
OPENED: Final = "opened"  # paths of the modules that are drawn opened (Model)
PAINT: Final = "paint"  # what the colours of modules say (Model)
ARCHIVED: Final = "archived"  # whether archived runs are listed

NO_RUNS: Final = "none"
MAX_CHARS: Final = 20_000  # of one value; the server itself refuses addresses above 512 KiB
_MAX_ITEMS: Final = 1000

Value = str | int | float | bool | Iterable[str] | None


def join(items: Iterable[str]) -> str:
    """Return `items` as one text; `split` returns them again, whatever characters they hold."""
    return ",".join(quote(item, safe=" /:@=+()[]{}!$&'*;?#<>|^`~\"") for item in items)


def split(text: str) -> list[str]:
    """Return the items of a text made by `join`, without repeats, in order, at most 1,000."""
    parts = text[:MAX_CHARS].split(",", _MAX_ITEMS)[:_MAX_ITEMS]
    return list(dict.fromkeys(unquote(part) for part in parts if part))


def runs_text(run_ids: Iterable[str]) -> str:
    """Return the value of `RUNS` for the selected runs."""
    return join(run_ids) or NO_RUNS


def params(**values: Value) -> dict[str, str]:
    """Return query parameters for `st.switch_page`, `st.page_link` and `url`, without what is None or False.

    `runs=["a", "b"]` and any other list become one text with commas.
    """
    out: dict[str, str] = {}
    for key, value in values.items():
        if value is None or value is False:
            continue
        if value is True:
            out[key] = "true"
        elif isinstance(value, str | int | float):
            out[key] = str(value)
        else:
            out[key] = runs_text(value) if key == RUNS else join(value)
    return out


def url(page: str, **values: Value) -> str:
    """Return the address of a page with its state, relative to the app.

    >>> url("metrics", runs=["a-1", "b-2"], q="loss$")
    'metrics?runs=a-1%2Cb-2&q=loss%24'

    Raises:
        KeyError: `page` is not one of `PAGES`.
    """
    query = urlencode(params(**values))
    return (PAGES[page] or ".") + (f"?{query}" if query else "")


def text(key: str, default: str = "", max_chars: int = MAX_CHARS) -> str:
    """Return the value of `key` in the address, cut to `max_chars`; `default` when it is absent."""
    value = st.query_params.get(key)
    return default if value is None else value[:max_chars]


def choice(key: str, options: Collection[str], default: str) -> str:
    """Return the value of `key` when it is one of `options`, else `default`."""
    value = st.query_params.get(key)
    return value if value is not None and value in options else default


def flag(key: str, default: bool = False) -> bool:
    """Return whether `key` says yes (`true`, `1`, `yes`)."""
    value = st.query_params.get(key)
    return default if value is None else value.lower() in ("true", "1", "yes", "on")


def number(key: str, low: float, high: float, default: float) -> float:
    """Return the number at `key`, moved into `low` to `high`; `default` when it is absent or not a number."""
    try:
        value = float(st.query_params.get(key, ""))
    except ValueError:
        return default
    return min(max(value, low), high) if math.isfinite(value) else default


def items(key: str) -> list[str] | None:
    """Return the list at `key` (see `split`), or None when the address has no such key."""
    value = st.query_params.get(key)
    return None if value is None else split(value)


def put(key: str, value: Value, default: Value = None) -> None:
    """Write `value` at `key` of the address, or take the key away when the value is the default one."""
    found = {} if value == default else params(**{key: value})
    if not found:
        if key in st.query_params:
            del st.query_params[key]
    elif st.query_params.get(key) != found[key]:
        st.query_params[key] = found[key]
