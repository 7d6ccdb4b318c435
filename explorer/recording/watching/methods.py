"""The recorder's methods for watching, and what they use of it. Nothing here imports torch until it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from explorer.errors import UsageError
from explorer.recording.plug import Plug
from explorer.recording.stream import Row

if TYPE_CHECKING:
    import torch

    from explorer.recording.program.methods import ProgramPlug
    from explorer.recording.watching.labels import Labels
    from explorer.recording.watching.schedule import Schedule
    from explorer.recording.watching.task import WatchTask
    from explorer.recording.watching.watch import Watch


class Off:
    """What `watch` returns when nothing is recorded."""

    def remove(self) -> None:
        """There is nothing to remove."""


@dataclass
class WatchPlug(Plug):
    """What watching uses of an open recorder.

    Attributes:
        offset_at: wall minus monotonic clock at a moment of the latter, as in the journals of this attempt.
        put: records a row of metrics from the writer thread.
        first_step: the number of the first optimizer step: one more than the last of earlier attempts, or 0.
        watches: those that were begun and have not ended.
    """

    offset_at: Callable[[int], int]
    put: Callable[[Row], object]
    first_step: int
    watches: list[Watch] = field(default_factory=list)
    _task: WatchTask | None = None
    _labels: Labels | None = None

    def task(self) -> WatchTask:
        """The writer's part; made when it is first asked for."""
        if self._task is None:
            from explorer.recording.watching.task import WatchTask

            self._task = WatchTask(
                self.run_dir, self.attempt, self.rank, self.offset_at, self.put, self.notices, self.disk
            )
            self.tasks.append(self._task)
        return self._task

    def labels(self) -> Labels:
        """Who counts labels; made when it is first asked for."""
        if self._labels is None:
            from explorer.recording.watching.labels import Labels

            self._labels = Labels(self.task(), self.notices, self.overhead)
        return self._labels

    def forget(self, watch: Watch) -> None:
        """It has ended: its model is not held any longer."""
        self.watches = [other for other in self.watches if other is not watch]

    def next_step(self) -> int:
        """The step that is under way, as far as can be told."""
        if self.watches:
            return self.watches[-1].next_step
        last = self.last_step()
        return self.first_step if last is None else last + 1


class WatchMethods:
    """Part of `Recorder`."""

    _watch_plug: WatchPlug | None = None  # None when recording is off or over
    _program_plug: ProgramPlug | None = None

    def watch(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None = None,
        *,
        kinds: str | Iterable[str] = ("param", "grad", "update", "activation"),
        include: str | Iterable[str] = "*",
        exclude: str | Iterable[str] = (),
        schedule: Schedule | int | None = None,
        scaler: Any = None,  # noqa: ANN401 - a GradScaler of torch, which has several
        step: Callable[[], int] | None = None,
        prefix: str = "",
        max_copy_bytes: int = 2 * 2**30,
        program: bool = True,
    ) -> Watch | Off:
        """Record statistics and histograms of a model's tensors at some steps of the training. Call it once.

        Counters are exact and cover all values. The training is bit for bit what it would be without, no device is
        waited for, and steps in between cost some microseconds. Everything is looked up anew at each step that is
        looked at: layers that are unfrozen and parameters that are added later are found.

        A step is one of the optimizer's, so accumulated gradients count once. Gradients are read when the step begins:
        final, unscaled and clipped (those of a step with a closure when it ends). An update is the parameter after the
        step minus the parameter before. Outputs of modules are those of all training forwards of that step together.
        With several optimizers one step is a round, which ends when one of them steps again. Without an optimizer
        training forwards are counted instead, and there are no gradients and updates. Of parameters that are spread
        over processes (DTensor) each process records its own part, which is said.

        Also recorded, as metrics of those steps: `watch/grad_norm`, `watch/grad_norm_before_clipping`, `watch/clipped`
        (of further optimizers: `watch/optimizer_1/...`), `watch/step_s`, `watch/data_wait_s` (from the end of a step
        until the next forward). In which mode dropout and batch normalisation were, and what could not be recorded and
        why, is in the record of the model.

        What the model computes is captured, too, as `program` does it: with the first examples of the first batch that
        it is trained on, at the end of the first step. That takes seconds (10 to 15 ms for each operator of the model),
        once in an attempt, on rank 0; it is announced, and counts as cost of the recording. To have it at another
        moment, or with labels and names, call `program`; `program=False` leaves it out.

        Args:
            model: the model as it is called: plain, compiled or wrapped.
            optimizer: what changes it: one, several or none.
            kinds: some of param, grad, update, activation.
            include: patterns of names of parameters and modules, such as `"encoder.*"`; `*` stands for anything.
            exclude: patterns of names that are left out.
            schedule: `EarlyThenEvery(early=20, every=50)` by default; `Every(n)` or n; `LogSpaced(per_decade=20)`.
            scaler: the GradScaler, if there is one, so that the norm before clipping is that of the true gradient.
            step: returns the number of the step that is under way, such as `lambda: step`. By default steps are counted
                from 0, or on from the last step of the attempt before; a count that is behind the last logged step is
                raised to it (which is one too few after a GradScaler has left out a step, where rows are logged after
                the step). A training that resumes from an earlier checkpoint has to pass it: where it goes back to,
                only the training knows, and without it looks are numbered on from the last recorded step.
            prefix: put before all names; needed when several models are watched.
            max_copy_bytes: copies of parameters, for their updates, take at most so much. Beyond it, and without the
                kind `update`, the update ratio of a parameter of more than 65,536 values comes from 16,384 of them.
            program: capture what the model computes with the first batch, unless `program` was called before. Of
                several watched models it is the first one. Without an optimizer the first batch is that of any forward,
                and the moment is the first `log` after it.

        Returns:
            A handle; its `remove()` ends the watching, as `close()` does.

        Raises:
            UsageError: an argument is wrong, or another watched model has a parameter of the same name.
        """
        from explorer.recording.watching.options import check

        optimizers, options = check(
            model, optimizer, kinds, include, exclude, schedule, scaler, step, prefix, max_copy_bytes
        )
        if not isinstance(program, bool):
            raise UsageError(f"program should be True or False; found {program!r}. Call rec.program to pass examples")
        plug = self._watch_plug
        if plug is None or plug.is_forked:
            return Off()
        from explorer.recording.watching.first_snapshot import FirstSnapshot
        from explorer.recording.watching.watch import Watch

        task = plug.task()
        names = task.book.add_watch(model, options)
        first = None
        if plug.first_step:
            first = FirstSnapshot(plug.run_dir, plug.attempt, plug.rank, options.prefix, task.book)
        first_batch = None
        if program and self._program_plug is not None:
            first_batch = self._program_plug.follow(model, steps=bool(optimizers))
        watch = Watch(
            model, optimizers, options, names, task=task, notices=plug.notices, overhead=plug.overhead,
            first_step=plug.first_step, last_logged=plug.last_step, first=first, first_batch=first_batch,
            forget=plug.forget,
        )  # fmt: skip
        plug.watches.append(watch)
        return watch

    def log_labels(self, labels: object, step: int | None = None, *, name: str = "labels") -> None:
        """Count the classes of a batch.

        Args:
            labels: whole numbers: a tensor on any device, an array or a list, of any shape. From -32,768 to 32,767 each
                is counted by itself, a padding such as -100 included. Ids beyond, of a large vocabulary, are in `n`,
                mean, std, min and max, but in no bin, which is said once: `n` less all counts is how many these are.
                Tokenizers number tokens by how common they are, so it is the share of the rare ones. To count those
                by themselves log `labels - 32_768` as a second series, or `labels // 8` to count all in eights.
            step: the optimizer step; by default that which is under way.
            name: of the series.

        Raises:
            UsageError: labels are no whole numbers, or `step` is no integer.
        """
        plug = self._watch_plug
        if plug is None or plug.is_forked:
            return
        from explorer.recording.values import clean_name, clean_step

        plug.labels().take(labels, plug.next_step() if step is None else clean_step(step), clean_name(name))

    def _end_watching(self) -> None:
        """The recording ends: no hook is left."""
        plug, self._watch_plug = self._watch_plug, None
        for watch in plug.watches if plug is not None else ():
            watch.remove()
