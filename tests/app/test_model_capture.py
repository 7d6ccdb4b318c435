"""How a model was captured, in words."""

from explorer.app.model_capture import meaning_of
from explorer.recording.program.reasons import reason_of


def test_a_reason_is_told_as_advice_with_what_pytorch_said_behind() -> None:
    meaning, detail = meaning_of(reason_of(RuntimeError("Could not guard on data-dependent expression Eq(u0, 1) [x]")))
    assert meaning.startswith("the model decides in Python by values of a tensor")
    assert detail == "RuntimeError: Could not guard on data-dependent expression Eq(u0, 1) [x]"


def test_the_reasons_of_older_runs_are_what_pytorch_said() -> None:
    assert meaning_of("RuntimeError: no") == ("RuntimeError: no", "")
