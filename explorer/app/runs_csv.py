"""The runs table as CSV: the rows and columns on the screen, in their order, with every digit."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime

from explorer.analysis.settings import setting_text
from explorer.app.csv_text import harmless
from explorer.app.runs_fields import Field
from explorer.reading.catalogue import RunInfo


def write_csv(infos: Sequence[RunInfo], fields: Sequence[Field]) -> str:
    """Return the runs as CSV (RFC 4180, UTF-8): a header of tokens, one line per run, the run id last.

    Numbers have full precision, durations are seconds, times ISO 8601 in UTC, lists are joined by `, `, missing values
    are empty. Texts that a spreadsheet would run as a formula begin with a quote.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    with_id = not any(field.token == "id" for field in fields)
    writer.writerow([*(_cell(field.token) for field in fields), *(["id"] if with_id else [])])
    for info in infos:
        row = [_cell(field.get(info), field) for field in fields]
        writer.writerow([*row, *([_cell(info.run_id)] if with_id else [])])
    return out.getvalue()


def _cell(value: object, field: Field | None = None) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list) and field is not None and field.kind == "list":
        return harmless(", ".join(str(item) for item in value))
    return harmless(value if isinstance(value, str) else setting_text(value))
