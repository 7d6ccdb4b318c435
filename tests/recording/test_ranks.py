"""Several processes record one run: they agree on it without waiting for each other, and two launches stay apart."""

import threading

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard

from explorer import UsageError
from explorer.storage import layout


@pytest.fixture
def launched(monkeypatch):
    """`launched(rank)` is the environment of a rank of two; what else a launcher sets is not there."""
    for name in ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "SLURM_JOB_ID", "EXPLORER_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")

    def environment(rank, **more):
        monkeypatch.setenv("RANK", str(rank))
        for name, value in more.items():
            monkeypatch.setenv(name, value)

    return environment


def attempts(recorder):
    return [(attempt, rank) for attempt, rank, _ in layout.list_process_files(recorder.path, "attempts")]


def test_a_rank_that_comes_late_starts_at_step_0(launched, record, summary_of):
    launched(0)
    first = record(run_id="shared")
    first.log({"x": 1.0}, step=1_000)
    first.close()
    launched(1)
    late = record(run_id="shared", config={"mine": 1})
    assert late.last_step is None
    late.log({"x": 2.0})
    late.close()
    assert summary_of(late)["last_step"] == 0


def test_a_second_launch_of_the_same_id_is_refused(launched, record):
    for rank in (0, 1):
        launched(rank, TORCHELASTIC_RUN_ID="100")
        record("train").close()
    with pytest.raises(UsageError, match=r"there is a run train-100 .*resume=.*another run_id="):
        record("train")


def test_a_restart_by_the_launcher_is_the_next_attempt(launched, record):
    launched(0, TORCHELASTIC_RUN_ID="100")
    record("train").close()
    launched(0, TORCHELASTIC_RESTART_COUNT="1")
    recorder = record("train")
    recorder.close()
    assert attempts(recorder) == [(1, 0), (2, 0)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_ranks_given_by_hand_may_come_in_any_order(record, order):
    for rank in order:
        recorder = record(run_id="shared", rank=rank)
        recorder.close()
    assert attempts(recorder) == [(1, 0), (1, 1)]


def test_a_rank_waits_for_a_run_that_another_is_just_claiming_where_there_are_no_hard_links(record, tmp_path):
    first = record(run_id="shared", rank=0)
    first.close()
    claimed = first.path / "run.json"
    content = claimed.read_bytes()
    claimed.write_bytes(b"")
    later = threading.Timer(0.3, claimed.write_bytes, [content])
    later.start()
    record(run_id="shared", rank=1).close()
    later.join()
    assert attempts(first) == [(1, 0), (1, 1)]


@pytest.fixture
def group(monkeypatch):
    """A process group of which this process believes to be all there is."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_ranks_of_a_process_group_agree_on_a_new_id_without_waiting(group, launched, record, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("a collective call: where rank 0 alone records, it never returns")

    monkeypatch.setattr(dist, "broadcast_object_list", fail)
    ids = {}
    for rank in (0, 1):
        for number in (1, 2):
            launched(rank)
            recorder = record("train")
            recorder.close()
            ids[rank, number] = recorder.run_id
    assert ids[0, 1] == ids[1, 1] != ids[0, 2] == ids[1, 2]


@pytest.mark.filterwarnings("ignore::explorer.errors.RecorderWarning")
def test_a_dtensor_is_a_number_only_where_every_rank_holds_all_of_it(group, record, rows_of, summary_of):
    mesh = init_device_mesh("cpu", (1,))
    kinds = {"sum": Partial(), "part": Shard(0), "whole": Replicate()}
    recorder = record()
    recorder.log({name: DTensor.from_local(torch.ones(1), mesh, [kind]) for name, kind in kinds.items()})
    recorder.close()
    assert [row for *_, row in rows_of(recorder.path)] == [{"whole": 1.0}]
    assert summary_of(recorder)["refused_values"] == 2
    assert all("call .full_tensor() on all ranks" in what for what in summary_of(recorder)["warnings"])
