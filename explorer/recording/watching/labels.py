"""Labels of batches, counted by class."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from explorer.errors import UsageError
from explorer.recording.notices import Notices
from explorer.recording.overhead import Overhead
from explorer.recording.watching.drafts import Draft, LabelsDraft
from explorer.recording.watching.shipping import PinnedPool, Shipment
from explorer.recording.watching.task import WatchTask


class Labels:
    """Takes labels from the training's thread and hands them to the writer, which counts them."""

    def __init__(self, task: WatchTask, notices: Notices, overhead: Overhead) -> None:
        self._task, self._notices, self._overhead = task, notices, overhead
        self._pool = PinnedPool()

    def take(self, labels: object, step: int, name: str) -> None:
        """A batch of labels. Raises UsageError for what cannot be labels."""
        began_s = time.thread_time()
        draft = Draft(step, time.monotonic_ns())
        if isinstance(labels, Tensor) and labels.device.type != "cpu":
            _check(not (labels.is_floating_point() or labels.is_complex()), labels.dtype)
            try:
                shipment = Shipment(labels.device, self._pool)
                values = labels.detach().reshape(-1).to(torch.int64, copy=True)
                draft.num_bytes = values.nbytes
                place = shipment.put("ints", values)
                shipment.send()
            except RuntimeError as error:  # the device's own
                self._notices.warn("labels", f"labels could not be recorded ({error})")
                return
            draft.shipments = [shipment]
            draft.rows.append(LabelsDraft(name, lambda: shipment.ints[place]))
        else:
            array = _as_array(labels)
            draft.num_bytes = array.nbytes
            draft.rows.append(LabelsDraft(name, lambda: array))
        self._task.take(draft)
        self._overhead.sampling_s += time.thread_time() - began_s


def _as_array(labels: object) -> npt.NDArray[np.int64]:
    try:
        array = np.asarray(labels.detach().numpy() if isinstance(labels, Tensor) else labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"labels should be whole numbers; found {type(labels).__name__} ({error})") from error
    _check(array.dtype.kind in "iub" or not array.size, array.dtype)
    return array.astype(np.int64).reshape(-1)


def _check(is_whole: bool, dtype: object) -> None:
    if not is_whole:
        raise UsageError(f"labels should be whole numbers, one for each class; found {dtype}")
