"""What a recorder offers for capturing the model's computation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from explorer.errors import UsageError
from explorer.recording.notices import say
from explorer.recording.plug import Plug

if TYPE_CHECKING:
    from torch import nn

    from explorer.recording.program.first_batch import FirstBatch
    from explorer.recording.program.held import Inputs
    from explorer.recording.program.samples import About
    from explorer.recording.program.task import Asked, ProgramTask


@dataclass
class ProgramPlug(Plug):
    """What `Recorder.program` needs of an open recorder; captures one model, on rank 0.

    Attributes:
        quiet: print nothing.
        listen: has the next row of metrics told to `at_log`.
    """

    quiet: bool
    listen: Callable[[], None]
    _task: ProgramTask | None = None
    _first_batch: FirstBatch | None = None
    _is_asked: bool = False
    _thread: int | None = None

    def capture(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], about: About) -> None:
        """Capture what was asked for, and hand it to the writer. Never raises for a model's fault."""
        if self.rank != 0 or self.is_forked:
            return
        if self._is_asked:
            self.notices.warn("program again", "program() was called again: the model is captured once in a run")
            return
        self._is_asked = True
        self.leave_first_batch()
        self._capture(model, [(args, kwargs)], about, "asked", self.last_step())

    def follow(self, model: nn.Module, *, steps: bool) -> FirstBatch | None:
        """Capture this model with the first batch that it sees; None where that is not wanted any more.

        Args:
            model: that is watched.
            steps: whether the end of a step will be told to what is returned.
        """
        if self.rank != 0 or self.is_forked or self._task is not None or self._first_batch is not None:
            return None
        from explorer.recording.program.first_batch import FirstBatch
        from explorer.recording.program.samples import About

        def skip(reason: str) -> None:
            what = f"the model was not captured with its first batch: {reason}. Call program(model, a few examples)"
            self.notices.warn("first batch", what)

        def capture(found: nn.Module, choices: list[Inputs], step: int | None) -> None:
            self._capture(found, choices, About(), "first batch", self.last_step() if step is None else step)

        self._first_batch = FirstBatch(model, steps=steps, capture=capture, listen=self.listen, skip=skip)
        return self._first_batch

    @property
    def is_waiting(self) -> bool:
        """Whether a batch is kept and the next row that is logged may be the moment."""
        return self._first_batch is not None and self._first_batch.is_waiting

    def is_followed_here(self) -> bool:
        """Whether this thread is capturing now."""
        return self._thread == threading.get_ident()

    def at_log(self) -> None:
        """A row of metrics was recorded."""
        if self._first_batch is not None:
            self._first_batch.at_log()

    def leave_first_batch(self) -> None:
        """Wait for it no longer."""
        if self._first_batch is not None:
            self._first_batch.remove()

    def _capture(
        self, model: nn.Module, choices: Sequence[Inputs], about: About, asked: Asked, step: int | None
    ) -> None:
        """Capture with the first of these inputs that does."""
        from explorer.recording.program.capture import capture
        from explorer.recording.program.task import ProgramTask

        if not self.quiet:
            how = " with its first batch (watch(program=False) leaves that out)" if asked == "first batch" else ""
            say(f"capturing the model{how}, so that it can be run again later; the training waits, once")
        began_s = time.perf_counter()
        self._thread = threading.get_ident()
        self.listen()  # so that rows of a forward are seen, and left out
        try:
            with self.notices.held():
                for args, kwargs in choices:
                    found = capture(model, args, kwargs, step=step)
                    self.overhead.sampling_s += found.took_s
                    if found.document is not None:
                        break
        except Exception as error:  # a defect of ours must not end a training
            what = (
                f"the model could not be captured ({type(error).__name__}: {error}); this is a defect of the recorder"
            )
            self.notices.warn("program", what)
            return
        finally:
            self._thread = None
        pause_s = time.perf_counter() - began_s
        if found.document is None:
            _, reason = found.why[-1]  # the last route runs the model as it is, so it is the one that knows
            self.notices.warn("program", f"the model could not be captured and cannot be run again later: {reason}")
            if self._task is not None:  # what was captured with the first batch stays
                return
        elif not self.quiet:
            num_nodes = len(found.document["graph"]["nodes"])
            say(f"the model was captured in {pause_s:.1f} s ({num_nodes:,} operators, by {found.document['route']})")
        if self._task is None:
            self._task = ProgramTask(self.run_dir, self.attempt, self.rank, self.disk)
            self.tasks.append(self._task)
        self._task.hand_over(found, about, step, asked, pause_s)


class ProgramMethods:
    """A part of `Recorder`."""

    _program_plug: ProgramPlug | None = None

    def program(
        self,
        model: nn.Module,
        *example_inputs: Any,  # noqa: ANN401
        labels: object = None,
        class_names: object = None,
        vocabulary: object = None,
        feature_names: object = None,
        tokenizer: object = None,
        kind: Literal["image", "tokens", "table"] | None = None,
        **named_inputs: Any,  # noqa: ANN401
    ) -> None:
        """Capture what the model computes, so that it can be run again with any recorded weights, without its code.

        Takes a few seconds (10 to 15 ms for each operator of the model), once in an attempt, on rank 0, at the moment
        of the call; two lines on standard error announce the pause and tell how long it was. The model, its mode,
        hooks, gradients and every generator of random numbers stay as they are. A model that cannot be captured is no
        error: that is said once, and the reasons are recorded.

        Without this call `watch` captures with the first batch, of which it knows neither labels nor names. Called
        before, this takes its place; called later, what it captures replaces that.

        Args:
            model: the model, or a compiled or data-parallel wrapper of it; captured in evaluation mode.
            *example_inputs: what it is called with. A few examples: they are recorded, with the model's outputs.
            labels: what is right, one for each example.
            class_names: by the index of the model's classes.
            vocabulary: texts by token id, or a mapping of texts to ids.
            feature_names: by column of a table.
            tokenizer: of a model of texts, so that its page takes typed text: the path of a `tokenizer.json` or of a
                folder that holds one, a `tokenizers.Tokenizer` or a fast tokenizer of transformers. Its file, at most
                32 MiB, is recorded; without `vocabulary` that comes from it.
            kind: what the inputs are; by default found out by whoever shows them.
            **named_inputs: what the model is called with by name.

        Raises:
            UsageError: an argument is not what is described here.
        """
        from torch import nn

        from explorer.recording.program.samples import check_about

        if not isinstance(model, nn.Module):
            raise UsageError(f"program() expects a torch.nn.Module; found {type(model).__name__}")
        if not example_inputs and not named_inputs:
            raise UsageError("program() needs what the model is called with: program(model, batch)")
        about = check_about(kind, class_names, vocabulary, feature_names, labels, tokenizer)
        if self._program_plug is not None:
            self._program_plug.capture(model, example_inputs, named_inputs, about)

    def _end_program(self) -> None:
        """The recording ends: no hook is left."""
        plug, self._program_plug = self._program_plug, None
        if plug is not None:
            plug.leave_first_batch()
