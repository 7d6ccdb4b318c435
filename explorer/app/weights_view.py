"""The Weights page below its title: the two snapshots, how they differ, and one tensor opened; live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from explorer.app import shell, weights_choices, weights_diff, weights_layer, weights_table

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

ABOUT: Final = (
    "Two snapshots of any steps and runs against each other: every tensor ranked by how far it moved, and one of them "
    "opened down to its elements."
)


def weights(infos: Sequence[RunInfo], labels: Mapping[str, str]) -> None:
    """Draw everything below the title; without steps in the address the last snapshot is followed."""
    chosen = weights_choices.choose(infos, labels)
    if chosen is None:
        return
    before, after = chosen
    opened = None
    with shell.guard("The comparison"):
        opened = weights_table.draw(weights_diff.compare(before, after), before, after)
    if opened is not None:
        weights_layer.draw(before, after, *opened)
