"""How tall a table is."""

from __future__ import annotations

from typing import Final, Literal

_SCROLL_HEIGHT: Final = 590  # pixels; 18 rows and the header


def table_height(num_rows: int) -> int | Literal["content"]:
    """Return the height of a table: that of its rows, or of 18 of them when the rest has to scroll.

    >>> table_height(3), table_height(300)
    ('content', 590)
    """
    return "content" if num_rows <= 18 else _SCROLL_HEIGHT
