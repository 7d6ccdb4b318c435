"""What the numbers and nodes in an edit are called in a run: features, tokens, modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from explorer.app.inference_output import plain_token
from explorer.app.inference_places import node_choices
from explorer.app.inference_token_edits import vocabulary_of
from explorer.inference.edits.kinds.activations import ActivationEdit, Patch
from explorer.inference.edits.kinds.fields import Edit
from explorer.inference.edits.kinds.inputs import InsertToken, ReplaceToken, SetFeature, SetTokens

if TYPE_CHECKING:
    from explorer.app.inference_scene import Scene

_MAX_PIECES: Final = 80


def edit_about(scene: Scene, edit: Edit) -> str:
    """The name of what an edit gives by number: a feature, a token, the module of a node; "" where none is known."""
    if isinstance(edit, SetFeature):
        names = scene.model.feature_names
        return names[edit.feature] if edit.feature < len(names) else ""
    if isinstance(edit, ReplaceToken | InsertToken):
        vocabulary = vocabulary_of(scene)
        return repr(plain_token(vocabulary[edit.token])) if edit.token < len(vocabulary) else ""
    if isinstance(edit, SetTokens):
        vocabulary, numbers = vocabulary_of(scene), edit.numbers()[:_MAX_PIECES]
        glue = "" if all(len(name) == 1 for name in vocabulary) else " "
        known = all(token < len(vocabulary) for token in numbers)
        return repr(plain_token(glue.join(vocabulary[token] for token in numbers))) if known else ""
    if isinstance(edit, ActivationEdit):
        choice = node_choices(scene.model).get(edit.node)
        parts = [f"output of {choice.module}"] if choice is not None and choice.module else []
        if isinstance(edit, Patch) and edit.example is not None:  # counted from 1, as everywhere on the page
            parts.append(f"{edit.example + 1} of {scene.model.num_examples} examples")
        return ", ".join(parts)
    return ""
