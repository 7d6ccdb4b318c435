"""What is said while a capture has shut warnings and standard error is shown afterwards, whoever says it."""

import threading
import warnings

from explorer import RecorderWarning
from explorer.recording.notices import Notices


def say_from_another_thread(notices, about):
    thread = threading.Thread(target=notices.warn, args=(about, about))
    thread.start()
    thread.join()


def test_what_is_said_meanwhile_is_shown_afterwards():
    notices = Notices()
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with notices.held():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                say_from_another_thread(notices, "one")
                say_from_another_thread(notices, "two")
                say_from_another_thread(notices, "one")
            assert shown == []
    assert [(str(warning.message), warning.category) for warning in shown] == [
        ("one", RecorderWarning), ("two", RecorderWarning),
    ]  # fmt: skip
    assert notices.messages == ["one", "two"]


def test_it_is_shown_also_where_warnings_are_errors(capsys):
    notices = Notices()
    with notices.held():
        notices.warn("one", "one")
        assert capsys.readouterr().err == ""
    assert capsys.readouterr().err == "explorer: one\n"
