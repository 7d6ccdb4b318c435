"""Weights from a file of the user's instead of those of a snapshot: chosen, compared with the model, used."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import streamlit as st

from explorer.app import inference_session
from explorer.app.inference_refusal import refusal
from explorer.app.names import esc, plain
from explorer.errors import UsageError
from explorer.inference.weights_file import SUFFIXES, WeightsFile, local_path

if TYPE_CHECKING:
    from explorer.app.inference_scene import Scene

_PREFIX: Final = "inference.file.prefix"
_READING: Final = "inference.file.reading"
_PATH: Final = "inference.file.path"
_USE: Final = "inference.file.use"


def choose(scene: Scene) -> Scene:
    """Draw the choice of a file; returns the scene with its weights where they fit and are wanted.

    The path is state of this session and never of the link, so that nobody's link makes this machine read a file.
    """
    with st.expander("Weights from a file", icon=":material/upload_file:", key="inference.file"):
        file = _file(scene)
        if file is None:
            st.caption(
                "A `.safetensors` file or a checkpoint of `torch.save`, which is loaded as weights only: nothing in it "
                "is run. Names and shapes are compared with the recorded model before it is used."
            )
            return scene
        with refusal("file"):
            answer = inference_session.ask(scene, "fit", file=file.path, prefix=file.prefix, reading=file.reading)
            if _told(file, answer) and st.toggle("Use these weights", value=True, key=_USE):
                return replace(scene, file=file)
    return scene


def _file(scene: Scene) -> WeightsFile | None:
    left, right = st.columns(2)
    with left:
        upload = st.file_uploader("Upload", type=list(SUFFIXES), key=f"inference.file.upload.{scene.info.run_id}")
    with right:
        typed = st.text_input(
            "Or its path on the machine that the app runs on",
            key=_PATH,
            placeholder=str(Path.home() / "model.safetensors"),
            on_change=_anew,
            help="Read by the process that runs the model, not by this page.",
        )
        st.button("Read it again", key="inference.file.again", icon=":material/refresh:", on_click=_anew)
    stored = ""
    if upload is not None:
        stored = _stored(str(upload.file_id), Path(upload.name).suffix.lower(), upload.getbuffer())
    prefix, reading = st.session_state.get(_PREFIX, ""), st.session_state.get(_READING, 0)
    if upload is not None:
        return WeightsFile(stored, prefix, reading, plain(upload.name, 80))
    if not typed:
        return None
    try:
        return WeightsFile(local_path(typed), prefix, reading)
    except UsageError as error:
        st.error(esc(error, 300), title="This is no file of weights", icon=":material/block:")
        return None


def _told(file: WeightsFile, answer: Mapping[str, Any]) -> bool:
    """Say how the file fits; returns whether it can be used."""
    counts = answer["counts"]
    without = f', without the prefix "{esc(file.prefix, 40)}"' if file.prefix else ""
    if answer["complete"]:
        more = [f"{counts['unused']:,} others in it are not used"] if counts["unused"] else []
        more += [f"{answer['num_cast']:,} are brought to the recorded dtype"] if answer["num_cast"] else []
        st.markdown(
            f":green[:material/check_circle:] Every weight of the model is in **{esc(file.name, 80)}**{without}"
            + "".join(f" · {each}" for each in more)
        )
        return True
    st.warning(
        f"{counts['missing']:,} weights of the model are missing and {counts['mismatched']:,} have another shape or "
        f"dtype; {counts['unused']:,} in the file are not known to the model{without}.",
        title=f"The weights of {esc(file.name, 80)} do not fit",
        icon=":material/difference:",
    )
    if answer["prefix"]:
        st.button(
            f'Leave out the prefix "{esc(answer["prefix"], 40)}": then all of them fit',
            key="inference.file.strip",
            icon=":material/content_cut:",
            on_click=_set_prefix,
            args=(answer["prefix"],),
        )
    rows = [(name, "missing in the file") for name in answer["missing"]]
    rows += list(answer["mismatched"].items())
    rows += [(name, "only in the file") for name in answer["unused"]]
    table = pd.DataFrame([(plain(name, 200), plain(what, 200)) for name, what in rows], columns=["weight", "what"])
    st.dataframe(table, hide_index=True, height="content" if len(table) < 12 else 390)
    return False


def _set_prefix(prefix: str) -> None:
    st.session_state[_PREFIX] = prefix


def _anew() -> None:
    """Another file, or the same one after it was written anew."""
    st.session_state[_PREFIX] = ""
    st.session_state[_READING] = st.session_state.get(_READING, 0) + 1


@st.cache_resource(scope="session", show_spinner=False, on_release=lambda folder: shutil.rmtree(folder, True))
def _folder() -> str:
    """Where this session's uploads are, readable by this user only; gone with the session."""
    return tempfile.mkdtemp(prefix="experiment-explorer-")


def _stored(upload: str, suffix: str, data: memoryview) -> str:
    """The path of an upload; only the last one is kept. Its name is ours, not the user's."""
    folder = Path(_folder())
    known = st.session_state.get("inference.file.stored")
    if known is not None and known[0] == upload and Path(known[1]).exists():
        return str(known[1])
    for old in folder.iterdir():
        old.unlink()
    number = st.session_state.get(_READING, 0) + 1
    st.session_state[_READING], st.session_state[_PREFIX] = number, ""
    path = folder / f"upload-{number}{suffix if suffix.lstrip('.') in SUFFIXES else '.pt'}"
    path.write_bytes(data)
    st.session_state["inference.file.stored"] = (upload, str(path))
    return str(path)
