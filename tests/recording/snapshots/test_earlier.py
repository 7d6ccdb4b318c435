"""What an earlier attempt of the same rank left behind."""

from explorer.recording.snapshots.earlier import clean_up_earlier
from explorer.storage.disk import Disk


def put(folder, step, name, size):
    (folder / step).mkdir(parents=True, exist_ok=True)
    (folder / step / name).write_bytes(bytes(size))


def test_half_written_files_of_earlier_attempts_go_and_whole_ones_are_counted(tmp_path):
    put(tmp_path, "000000000010", "0001-00000.parquet", 5)
    put(tmp_path, "000000000020", "0002-00000.parquet", 7)
    put(tmp_path, "000000000020", ".0002-00000.parquet.99-0a1b2c3d4e5f.tmp", 100)
    assert clean_up_earlier(tmp_path, 3, 0, Disk()) == 12
    assert sorted(file.name for file in tmp_path.rglob("*.*")) == ["0001-00000.parquet", "0002-00000.parquet"]


def test_files_of_others_stay_and_are_not_counted(tmp_path):
    mine = ["0003-00000.parquet", ".0003-00000.parquet.99.tmp"]
    foreign = ["0001-00001.parquet", ".0001-00001.parquet.99.tmp", "notes.txt", ".notes.tmp"]
    for name in [*mine, *foreign]:
        put(tmp_path, "000000000010", name, 5)
    put(tmp_path, "elsewhere", ".0001-00000.parquet.99.tmp", 5)
    (tmp_path / "000000000011").symlink_to(tmp_path / "elsewhere")
    assert clean_up_earlier(tmp_path, 3, 0, Disk()) == 0
    assert sorted(file.name for file in (tmp_path / "000000000010").iterdir()) == sorted([*mine, *foreign])
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def test_a_run_without_snapshots_has_nothing_to_clean(tmp_path):
    assert clean_up_earlier(tmp_path / "params", 1, 0, Disk()) == 0
