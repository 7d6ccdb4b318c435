"""What the Inference page says when there is no model to run, and the lines of code that record one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app.inference_scene import input_name
from explorer.app.names import esc
from explorer.app.run_empty import nothing_recorded

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

_PROGRAM: Final = """\
with Recorder("my-model") as rec:
    rec.watch(model, optimizer)                                    # what the model computes, by its first batch
    snapshots = rec.snapshots(model, log_spaced=True, every=500)   # the weights of some steps
    for step, batch in enumerate(loader):
        ...
        snapshots.step(step)
"""
_MORE: Final = """\
rec.program(model, images[:16], labels=labels[:16], class_names=names, kind="image")
rec.program(model, tokens[:8], labels=targets[:8], vocabulary=words, kind="tokens")
rec.program(model, rows[:16], labels=values[:16], feature_names=columns, kind="table")
"""
_SNAPSHOT: Final = """\
rec.snapshot(model, step=step)                          # now
snapshots = rec.snapshots(model, log_spaced=True)       # or by a plan: call snapshots.step(step) in the loop
"""


def no_program(infos: Sequence[RunInfo]) -> None:
    """No run has a captured model."""
    purpose = "Inference runs the model of any recorded step again, edited, without the code that trained it."
    if not infos:
        nothing_recorded(purpose)
        return
    st.info(
        f"{purpose} None of the runs here has captured its model. `rec.watch(model, optimizer)` does it with the first "
        "batch, `rec.program(model, example_batch)` with examples of your choice; and keep the weights of some steps.",
        title="No model is recorded yet",
        icon=":material/tune:",
    )
    _code()


def not_captured(info: RunInfo, reasons: Sequence[str]) -> None:
    """This run has no program, or one that cannot be read."""
    if not reasons:
        st.info(
            f"{esc(info.name or info.run_id, 80)} did not capture its model. `rec.watch(model, optimizer)` does it "
            "with the first batch of the training, `rec.program(model, example_batch)` with examples of your choice.",
            title="This run has no model to run",
            icon=":material/tune:",
        )
        _code()
        return
    if reasons[0].startswith("program/"):
        st.warning(
            "\n".join(f"- {esc(reason, 800)}" for reason in reasons[:5])
            + "\n\nCopy the file again from where the run was recorded, or delete it and record the model once more: "
            "`rec.program(model, example_batch)`. Everything else of the run can be read.",
            title="The model of this run cannot be read",
            icon=":material/broken_image:",
        )
        return
    st.warning(
        "\n".join(f"- {esc(reason, 800)}" for reason in reasons[:5])
        + "\n\nThe training itself was recorded as usual. A model can be captured when its forward pass is made of "
        "PyTorch operators on tensors; values that leave PyTorch (NumPy, files, Python objects) cannot be followed.\n\n"
        "With its code at hand it can be run all the same, by a function of yours that makes the model: "
        "`python -m explorer app --factory package.module:make_model`. That runs your code.",
        title="The model of this run could not be captured",
        icon=":material/broken_image:",
    )


def no_snapshot(info: RunInfo, problems: Sequence[str]) -> None:
    """What the model computes is known, and none of its weights."""
    what = (
        "Its snapshots cannot be read:\n" + "\n".join(f"- {esc(problem, 300)}" for problem in problems[:5])
        if problems
        else f"{esc(info.name or info.run_id, 80)} has captured what its model computes, but recorded no weights "
        "to run it with: take a snapshot now and then."
    )
    st.warning(what, title="There are no weights to run with", icon=":material/save:")
    st.code(_SNAPSHOT, language="python")


def no_examples(problems: Sequence[str], left_out: Sequence[str] = ()) -> None:
    """Program and weights are there, and nothing to run them on."""
    listed = ", ".join(esc(input_name(path), 80) for path in left_out[:5])
    why = (
        f"{listed}: larger than 64 MiB, or of a kind that is not kept" if left_out else "none is a tensor with a batch"
    )
    st.warning(
        "\n".join(f"- {esc(problem, 300)}" for problem in problems[:5])
        or f"The inputs that were given to `rec.program` were not kept ({why}). Record the program once more with "
        "fewer or smaller examples: `rec.program(model, batch[:4])`.",
        title="There are no recorded examples to run the model on",
        icon=":material/broken_image:",
    )
    st.caption("In Python, `explorer.load_model(run, step).run(inputs)` runs it on any input.")


def _code() -> None:
    st.code(_PROGRAM, language="python")
    st.caption("With labels, names and the kind of input this page tells more. Call it before, in or after the loop:")
    st.code(_MORE, language="python")
