"""The recorder's methods for snapshots, and what they use of it. Nothing here imports torch until it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from explorer.recording.plug import Plug

if TYPE_CHECKING:
    import torch

    from explorer.recording.snapshots.automatic import Snapshots
    from explorer.recording.snapshots.snapshotter import Snapshotter


@dataclass
class SnapshotPlug(Plug):
    """What snapshots use of an open recorder.

    Attributes:
        attend: what the writer thread does in between while it writes a large file.
        listen: have each value of a metric told.
        automatic: those that take snapshots by policy.
    """

    attend: Callable[[], None]
    listen: Callable[[str, Callable[[float], None]], None]
    automatic: list[Snapshots] = field(default_factory=list)
    _snapshotter: Snapshotter | None = None

    def snapshotter(self) -> Snapshotter:
        """Who takes the snapshots of this process; made when it is first asked for."""
        if self._snapshotter is None:
            from explorer.recording.snapshots.snapshotter import Snapshotter
            from explorer.recording.snapshots.task import SnapshotTask

            task = SnapshotTask(self.run_dir, self.attempt, self.rank, self.disk, self.notices, self.attend)
            self.tasks.append(task)
            self._snapshotter = Snapshotter(task, self.notices, self.overhead)
        return self._snapshotter


class SnapshotMethods:
    """Part of `Recorder`."""

    _snapshot_plug: SnapshotPlug | None = None  # None when recording is off

    def snapshot(
        self,
        model: torch.nn.Module,
        step: int | None = None,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        dtype: Literal["bfloat16"] | None = None,
        reference: str | os.PathLike[str] | None = None,
        every_rank: bool = False,
        max_copy_bytes: int = 4 * 2**30,
    ) -> bool:
        """Save the parameters and buffers of a model as they are now. Call it between two optimizer steps.

        They are copied into memory of the recorder, which costs the training one pass over them (the first time also
        the making of that memory, and of a second set while a disk is slow), and written in the background. Nothing on
        a device is waited for. Tensors that have not changed since an earlier snapshot are not written again.

        Args:
            model: plain, compiled, or wrapped for data parallelism; names are those of the plain model. Tensors that
                are spread over processes, sparse or quantised are left out with a warning.
            step: the optimizer step; by default that of the newest row of metrics, or 0.
            optimizer: save its state too, under `<parameter>.<key>`.
            dtype: "bfloat16" stores float32 and float64 values in 2 bytes each; by default bit for bit.
            reference: keep no copy, but say that this safetensors file of yours holds the parameters.
            every_rank: save on every process of the run; by default on rank 0 alone.
            max_copy_bytes: a larger model is not copied.

        Returns:
            Whether it was taken. It is not when recording is off or ended, on ranks other than 0, when the disk has
            not finished the two before it, and when something is wrong, which is said and counted.

        Raises:
            UsageError: an argument is of the wrong type, or `step` is negative.
        """
        plug = self._plugged("snapshot", every_rank)
        if plug is None:
            return False
        from explorer.recording.snapshots.snapshotter import Options, check_model, check_step

        options = Options.check(optimizer, dtype, reference, max_copy_bytes)
        number = check_step((plug.last_step() or 0) if step is None else step)
        return plug.snapshotter().take(check_model(model), number, options)

    def snapshots(
        self,
        model: torch.nn.Module,
        *,
        every: int | None = None,
        log_spaced: bool = False,
        best: tuple[str, Literal["max", "min"]] | None = None,
        keep_last: int | None = None,
        max_bytes: int | None = None,
        after: torch.optim.Optimizer | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        dtype: Literal["bfloat16"] | None = None,
        every_rank: bool = False,
        max_copy_bytes: int = 4 * 2**30,
    ) -> Snapshots:
        """Save a model by policy. Wishes add up; the first, the last and the best snapshot are never deleted.

        Args:
            model: see `snapshot`. A step has one snapshot: several models that are saved at the same steps go into one
                `nn.ModuleDict`.
            every: at each multiple of so many steps.
            log_spaced: at steps 1, 2, 5, 10, 20, 50, ...
            best: a metric and "max" or "min": whenever it is logged (as a number, not as a tensor on a device) with a
                value better than ever before in this attempt: at the next step, or when the run ends as finished.
            keep_last: delete all but the last so many.
            max_bytes: delete the oldest in between until all snapshots of this rank fit.
            after: take them by itself after the steps of this optimizer, counted as `log` counts (one too few after a
                GradScaler has left out a step, where rows are logged after the step); otherwise call
                `step(step)` of what this returns once for each optimizer step, after `log`.
            optimizer: save its state too.
            dtype: see `snapshot`.
            every_rank: see `snapshot`.
            max_copy_bytes: see `snapshot`.

        Returns:
            An object whose `step` method the loop calls, unless `after` is given.

        Raises:
            UsageError: an argument is of the wrong type, or none says when.
        """
        from explorer.recording.snapshots.automatic import Snapshots, no_step
        from explorer.recording.snapshots.policy import Policy
        from explorer.recording.snapshots.snapshotter import Options, check_model

        policy = Policy(every=every, log_spaced=log_spaced, best=best, keep_last=keep_last, max_bytes=max_bytes)
        options = Options.check(optimizer, dtype, None, max_copy_bytes)
        plug = self._plugged("snapshots", every_rank)
        if plug is None:
            return Snapshots(check_model(model), policy, options, None, no_step)
        made = Snapshots(check_model(model), policy, options, plug.snapshotter(), plug.last_step)
        if best is not None and made.best is not None:
            plug.listen(best[0], made.best.note)
        if after is not None:
            made.attach(after)
        plug.automatic.append(made)
        return made

    def _plugged(self, called: str, every_rank: bool) -> SnapshotPlug | None:
        """The plug, or None when this process takes no snapshots."""
        plug = self._snapshot_plug
        if plug is None or plug.is_forked or (plug.rank and not every_rank):
            return None
        if plug.ended:
            plug.notices.warn("closed snapshot", f"{called}() was called after close(): no snapshot is taken")
            return None
        return plug

    def _unplug_snapshots(self, *, take_best: bool) -> None:
        """The recorder is being closed: take no more, but for the best ones where a training has ended as it should."""
        plug = self._snapshot_plug
        if plug is not None:
            plug.ended = True
            for automatic in plug.automatic:
                if take_best:
                    automatic.finish()
                automatic.close()
