"""The headers of Parquet's pages, read before the pages are decoded.

A page of a few bytes may claim a billion values, and Parquet's reader makes room for what a page claims. So we look at
the claims first.

https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from explorer.storage.thrift import Reader

_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
# Field numbers of PageHeader: kind, size when decompressed, size in the file, and the header of each kind of page.
_KIND, _SIZE, _PACKED_SIZE = (1,), (2,), (3,)
_NUM_VALUES: Final = {_DATA_PAGE: (5, 1), _DICTIONARY_PAGE: (7, 1)}


@dataclass(frozen=True)
class Pages:
    """What the pages of a column chunk say.

    Attributes:
        num_values: values of all data pages; of a list, its entries.
        num_bytes: of all pages when decompressed, with their headers.
        dictionary_bytes: of the dictionary page in the file, with its header; 0 when there is none.
    """

    num_values: int
    num_bytes: int
    dictionary_bytes: int


def read_pages(chunk: memoryview, max_values: int, max_bytes: int) -> Pages:
    """Read the headers of a column chunk: data pages v1 and perhaps a dictionary page before them.

    Raises:
        ValueError: the pages claim more values, or more bytes when decompressed, than that; or they are none of ours.
    """
    at = num_values = num_bytes = dictionary_bytes = 0
    while at < len(chunk):
        start = at
        header = Reader(chunk, at)
        fields = header.read_struct()
        kind, size, packed = fields.get(_KIND, -1), fields.get(_SIZE, -1), fields.get(_PACKED_SIZE, -1)
        if kind not in _NUM_VALUES or (kind == _DICTIONARY_PAGE and start > 0):
            raise ValueError("has a page of another kind than ours")
        values = fields.get(_NUM_VALUES[kind], -1)
        at = header.at + packed
        if min(size, packed, values) < 0 or at > len(chunk):
            raise ValueError("has a page that is larger than its column")
        num_bytes += size + header.at - start
        if kind == _DICTIONARY_PAGE:
            dictionary_bytes = at
        else:
            num_values += values
        if max(num_values, values) > max_values or num_bytes > max_bytes:
            raise ValueError(f"claims {num_values:,} values of {num_bytes:,} bytes in a column; none of ours has that")
    return Pages(num_values, num_bytes, dictionary_bytes)
