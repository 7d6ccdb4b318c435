"""Check everything that a run's files say about themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from explorer.errors import DamagedFile, FileError, NotCaptured
from explorer.storage import layout, records, segments
from explorer.storage.layout import SegmentFile
from explorer.storage.live import JournalReader
from explorer.storage.probes import list_probe_files
from explorer.storage.program_file import read_program
from explorer.storage.snapshot_files import SnapshotFile, open_snapshot_file
from explorer.storage.tensor_files import open_tensor_segment


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one file (or with the run: then the path is its folder)."""

    path: Path
    reason: str


def verify_run(run_dir: str | Path) -> list[Finding]:
    """Read every file of a run and check formats, checksums, row counts and that no segment is missing.

    Returns what is wrong; [] when all is well. Never raises for the content of a file.
    """
    return list(iter_findings(Path(run_dir)))


def iter_findings(run_dir: Path) -> Iterator[Finding]:
    """As `verify_run`, one finding at a time."""
    yield from _check_records(run_dir)
    for table in layout.TABLES:
        files = layout.list_segments(run_dir, table)
        yield from (Finding(run_dir / table, gap) for gap in layout.list_gaps(files))
        parts: dict[tuple[int, int, int], set[int]] = {}
        for file in files:
            if file.name.kind == "segment":
                key = (file.name.attempt, file.name.rank, file.name.segment)
                parts.setdefault(key, set()).add(file.name.part)
        for file in files:
            try:
                yield from _check_file(file, table, parts)
            except FileNotFoundError:
                continue  # a journal that became a segment while we looked
            except FileError as error:
                yield Finding(error.path, error.reason)
    yield from _check_tensors(run_dir)
    yield from _check_snapshots(run_dir)
    yield from _check_programs(run_dir)
    yield from _check_probes(run_dir)


def _check_tensors(run_dir: Path) -> Iterator[Finding]:
    files = [file for file in layout.list_segments(run_dir, layout.TENSORS) if file.name.kind == "segment"]
    yield from (Finding(run_dir / layout.TENSORS, gap) for gap in layout.list_gaps(files))
    for file in files:
        try:
            with open_tensor_segment(file.path) as segment:
                segment.check()
        except FileNotFoundError:
            yield Finding(file.path, "is gone")
        except FileError as error:
            yield Finding(error.path, error.reason)


def _check_snapshots(run_dir: Path) -> Iterator[Finding]:
    """Each file by itself, and that the bytes are there which others refer to."""
    held: dict[tuple[int, int, int], dict[str, int]] = {}
    needed: list[tuple[Path, tuple[int, int, int], str, int]] = []
    for found in layout.list_snapshot_files(run_dir):
        try:
            with open_snapshot_file(found.path) as file:
                file.check()
                _note_sources(found, file, held, needed)
        except FileNotFoundError:  # dropped while we looked
            continue
        except FileError as error:
            yield Finding(error.path, error.reason)
    for path, source, name, crc32 in needed:
        if held.get(source, {}).get(name) != crc32:
            yield Finding(path, f"needs the bytes of {name!r} from step {source[0]:,}, which does not have them")


def _check_programs(run_dir: Path) -> Iterator[Finding]:
    paths = layout.RunPaths(run_dir)
    for attempt, rank, path in layout.list_program_files(run_dir):
        needed: list[Path] = []
        try:
            program = read_program(path)
            needed.append(paths.samples(attempt, rank))
            if any(weight.role == "constant" for weight in program.weights.values()):
                needed.append(paths.program_constants(attempt, rank))
        except NotCaptured:  # that is what was recorded
            continue
        except FileNotFoundError:
            yield Finding(path, "is gone")
        except FileError as error:
            yield Finding(error.path, error.reason)
        for each in needed:
            try:
                with open_snapshot_file(each) as file:
                    file.check()
            except FileNotFoundError:
                yield Finding(each, "is missing")
            except FileError as error:
                yield Finding(error.path, error.reason)


def _note_sources(
    found: layout.SnapshotPath,
    file: SnapshotFile,
    held: dict[tuple[int, int, int], dict[str, int]],
    needed: list[tuple[Path, tuple[int, int, int], str, int]],
) -> None:
    own = held.setdefault((found.step, found.attempt, found.rank), {})
    for name, entry in file.entries.items():
        if entry.stored_step is None:
            own[name] = entry.crc32
        else:
            needed.append((found.path, (entry.stored_step, found.attempt, found.rank), name, entry.crc32))


def _check_probes(run_dir: Path) -> Iterator[Finding]:
    for probe in list_probe_files(run_dir):
        try:
            with open_snapshot_file(probe.path) as opened:
                opened.check()
        except FileNotFoundError:
            continue
        except FileError as error:
            yield Finding(error.path, error.reason)


def _check_records(run_dir: Path) -> Iterator[Finding]:
    paths = layout.RunPaths(run_dir)
    found = [paths.run_json]
    for folder in ("attempts", "summary", layout.MODEL):
        found += [path for _, _, path in layout.list_process_files(run_dir, folder)]
    for path in found:
        try:
            record = records.read_json(path)
            if path.parent.name != "attempts":
                records.check_format(path, record.get("format"))
        except FileNotFoundError:
            yield Finding(path, "is missing")
        except FileError as error:
            yield Finding(path, error.reason)
    try:
        records.read_json(paths.user_json)
    except FileNotFoundError:
        pass
    except FileError as error:
        yield Finding(paths.user_json, error.reason)


def _check_file(file: SegmentFile, table: str, parts: dict[tuple[int, int, int], set[int]]) -> Iterator[Finding]:
    name = file.name
    if name.kind == "journal":
        reader = JournalReader(file.path)
        reader.read_new()
        if reader.damaged:
            yield Finding(file.path, f"has {reader.damaged} damaged places; the rows around them are read")
        header = reader.header
        if header and (header.attempt, header.rank, header.segment) != (name.attempt, name.rank, name.segment):
            yield Finding(file.path, "belongs to another segment than its name says")
        return
    with segments.open_segment(file.path) as opened:
        meta = opened.meta
        said = [meta.get(key) for key in ("table", "attempt", "rank", "segment", "part")]
        if said != [table, name.attempt, name.rank, name.segment, name.part]:
            yield Finding(file.path, "belongs to another place than its name says")
        opened.read()
    if name.part == 0:
        count = meta.get("parts")
        missing = (
            set(range(count if isinstance(count, int) and count < 10_000 else 0))
            - parts[(name.attempt, name.rank, name.segment)]
        )
        for part in sorted(missing):
            raise DamagedFile(file.path, f"says that there is a part {part}, which is missing")
