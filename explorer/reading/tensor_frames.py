"""Statistics of tensors as a user of pandas expects them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd

_NEVER_MISSING: Final = ("step", "n", "zeros", "nans", "infs", "underflow")


def statistics_frame(table: pa.Table, problems: tuple[str, ...]) -> pd.DataFrame:
    """The table as a data frame; whole numbers that can be missing stay whole (Int64)."""
    import pandas as pd

    integers = {pa.int64(): pd.Int64Dtype(), pa.int8(): pd.Int8Dtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=integers.get, ignore_metadata=True)
    frame = frame.astype({name: "int64" for name in _NEVER_MISSING})
    frame.attrs["problems"] = problems
    return frame
