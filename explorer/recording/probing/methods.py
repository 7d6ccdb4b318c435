"""The recorder's method for probes. Nothing here imports torch until it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from explorer.recording.probing.task import Probes
    from explorer.recording.snapshots.methods import SnapshotPlug


class ProbeMethods:
    """Part of `Recorder`."""

    _snapshot_plug: SnapshotPlug | None = None  # None when recording is off
    _probes: Probes | None = None

    def probe(
        self,
        model: torch.nn.Module,
        batch: object,
        step: int | None = None,
        layers: str | Sequence[str] = "*",
    ) -> bool:
        """Record what the layers of a model put out for a fixed batch, to compare representations (CKA) later.

        It costs one forward pass over the batch, in the training's thread, and a copy of the batch and of the sampled
        outputs; the summary tells how long the last one took (`probes.last_ms`). The model runs in evaluation mode
        without gradients; the mode of each module and the state of the random numbers are then what they were before.
        Nothing on a device is waited for: writing is done in the background.

        Pass the same batch every time, and to every run that is to be compared: only equal batches are. Of each output
        the first 256 examples and at most 4,096 evenly strided features are kept (fewer for models of many layers, so
        that one probe stays under 64 MiB), bit for bit in float32, float16 or bfloat16.

        Args:
            model: plain, compiled, or wrapped for data parallelism; the plain model is run.
            batch: a tensor, or a tuple or a dict of what the model takes; the first size of its first tensor is the
                number of examples.
            step: the optimizer step; by default that of the newest row of metrics, or 0.
            layers: patterns such as "encoder.*" over names of modules. "*" stands for every module without children,
                attention, and the blocks of every ModuleList.

        Returns:
            Whether it was taken. It is not when recording is off or ended, on ranks other than 0, when the disk has
            not taken the probes before it, and when the model failed on the batch, which is said and counted.

        Raises:
            UsageError: an argument is of the wrong type, or `step` is negative.
        """
        plug = self._snapshot_plug
        if plug is None or plug.is_forked or plug.rank:
            return False
        if plug.ended:
            plug.notices.warn("closed probe", "probe() was called after close(): nothing is recorded")
            return False
        if self._probes is None:
            from explorer.recording.probing.task import Probes

            self._probes = Probes(plug.run_dir, plug.attempt, plug.rank, plug.disk, plug.notices, plug.overhead)
            plug.tasks.append(self._probes)
        return self._probes.take(model, batch, (plug.last_step() or 0) if step is None else step, layers)
