"""What a recorder offers for capturing the model's computation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from explorer.errors import UsageError
from explorer.recording.notices import say
from explorer.recording.plug import Plug

if TYPE_CHECKING:
    from torch import nn

    from explorer.recording.program.samples import About
    from explorer.recording.program.task import ProgramTask


@dataclass
class ProgramPlug(Plug):
    """What `Recorder.program` needs of an open recorder; captures one model, on rank 0."""

    quiet: bool
    _task: ProgramTask | None = None

    def capture(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], about: About) -> None:
        """Capture, and hand it to the writer. Never raises for a model's fault."""
        from explorer.recording.program.capture import capture
        from explorer.recording.program.task import ProgramTask

        if self.rank != 0 or self.is_forked:
            return
        if self._task is not None:
            self.notices.warn("program again", "program() was called again: the model is captured once in a run")
            return
        self._task = ProgramTask(self.run_dir, self.attempt, self.rank, self.disk)
        if not self.quiet:
            say("following the model once, so that it can be run again later; this takes a few seconds")
        step = self.last_step()
        try:
            found = capture(model, args, kwargs, step=step)
        except Exception as error:  # a defect of ours must not end a training
            what = (
                f"the model could not be captured ({type(error).__name__}: {error}); this is a defect of the recorder"
            )
            self.notices.warn("program", what)
            return
        self.overhead.sampling_s += found.took_s
        self._task.hand_over(found, about, step)
        self.tasks.append(self._task)
        if found.document is None:
            tried = "; ".join(f"{route}: {reason}" for route, reason in found.why)
            self.notices.warn("program", f"the model could not be captured and cannot be run again later ({tried})")


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

        Takes a few seconds (about 10 ms for each operator of the model), once in an attempt, on rank 0. The model, its
        mode, hooks, gradients and every generator of random numbers stay as they are. A model that cannot be captured
        is no error: that is said once, and the reasons are recorded.

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
