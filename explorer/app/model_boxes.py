"""What stands in the boxes of a model's graph, what their tooltips tell, and which colours they have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from explorer.app.model_opened import FRAME, can_open
from explorer.app.model_paint import NOTHING, TIME, Painting, Scale, ink, told
from explorer.app.model_shapes import shape_text
from explorer.app.model_values import ModuleValue
from explorer.app.names import plain
from explorer.charts.graph import Look, Shade
from explorer.charts.graph_picture import Frame, Item
from explorer.inference.modules import is_inside, names_of_outputs

if TYPE_CHECKING:
    from explorer.app.model_source import Architecture
    from explorer.inference.folding import Box, FoldedGraph

LIGHT_LOOK: Final = Look("#97a3b3", "#5b6675", "#f2f5f9")
DARK_LOOK: Final = Look("#64738a", "#9aa6b6", "#1a2230")
# (kind, whether dark): colours of boxes that are not painted.
_SHADES: Final = {
    ("module", False): Shade("#eaf1fb", "#93b8ea", "#1b2430"),
    ("module", True): Shade("#1b2c47", "#3f6fae", "#e4e9f0"),
    ("group", False): Shade("#dbe7f7", "#4985d5", "#1b2430"),
    ("group", True): Shade("#223a5e", "#5187cc", "#e4e9f0"),
    ("operator", False): Shade("#f6f8fa", "#c6ced8", "#3c4856", 12),
    ("operator", True): Shade("#1a212c", "#3d4a5c", "#c3ccd8", 12),
    ("port", False): Shade("#ffffff", "#7d8896", "#1b2430", 20),
    ("port", True): Shade("#10151d", "#7d8896", "#e4e9f0", 20),
}
_MISSING: Final = {False: Shade("#f1f2f4", "#d3d8df", "#6a7481"), True: Shade("#1e242d", "#343e4b", "#8d98a7")}
_MAX_NAMED: Final = 2


def items(model: Architecture, graph: FoldedGraph, painted: Painting) -> list[Item]:
    """Return the boxes as a chart draws them."""
    return [Item(box.id, name_of(model, box), note_of(model, box, painted)) for box in graph.boxes]


def frames(model: Architecture, graph: FoldedGraph) -> list[Frame]:
    """Return the frames around the boxes of opened modules, outer ones first."""
    found = []
    for path in sorted(graph.opened, key=lambda path: path.count(".")):
        kind = model.rows[path].type if path in model.rows else ""
        title = plain(f"▾ {path}" + (f" · {kind}" if kind else ""), 34)
        members = tuple(k for k, box in enumerate(graph.boxes) if is_inside(box.parent, path))
        found.append(Frame(FRAME + path, title, members))
    return found


def name_of(model: Architecture, box: Box) -> str:
    """What a box is called: a number is told with what holds it, and what can be opened has a sign."""
    if box.kind == "input":
        return "input" if box.label == "args[0]" else plain(box.label.replace("args", "input "), 60)
    if box.kind == "group":
        return plain(f"{_short(box.members[0])} … {_short(box.members[-1])}", 80)
    if box.kind == "module":
        return plain(("▸ " if can_open(model, box) else "") + _short(box), 80)
    return plain(box.label, 60)


def _short(box: Box) -> str:
    parts = box.path.split(".")
    return ".".join(parts[-2:]) if box.kind == "module" and parts[-1].isdigit() else box.label


def note_of(model: Architecture, box: Box, painted: Painting) -> str:
    """Under the name: what the box is, and the value that is painted."""
    value = value_of(box, painted)
    parts = []
    if box.kind == "group":
        parts.append(f"{len(box.members)} × {plain(box.type, 30)}" if box.type else f"{len(box.members)} boxes")
    elif box.kind == "module":
        parts.append(plain(box.type, 30))
        row = model.rows.get(box.path)
        parts += [f"{row.num_calls} calls"] if row is not None and (row.num_calls or 0) > 1 else []
    elif value is None:
        parts.append(output_text(model, box))
    if value is not None:
        parts.append(told(value.value, painted.key))
    return " · ".join(part for part in parts if part)


def value_of(box: Box, painted: Painting) -> ModuleValue | None:
    """The value that is painted on a box; None where there is none."""
    if box.kind == "module":
        return painted.of([box.path])
    if box.kind == "operator" and painted.key == TIME:
        spent = [painted.nodes[name] for name in box.nodes if name in painted.nodes]
        return ModuleValue(sum(spent), "", len(spent)) if spent else None
    if box.kind == "group":
        if painted.key == TIME:
            spent = [painted.nodes[name] for name in box.nodes if name in painted.nodes]
            return ModuleValue(sum(spent), "", len(spent)) if spent else None
        return painted.of([member.path for member in box.members if member.kind == "module"])
    return None


def output_text(model: Architecture, box: Box) -> str:
    """Shape of what leaves a box."""
    program = model.program
    if program is None:
        return ""
    names: Iterable[str]
    if box.kind == "input":
        names = [found.name for found in program.inputs if found.path == box.path]
    elif box.kind == "output":
        names = names_of_outputs(program).get(box.path, ())
    elif box.kind == "module":
        names = model.rows[box.path].outputs if box.path in model.rows else ()
    else:
        names = box.nodes[-1:]
    return outputs_text(model, names)


def outputs_text(model: Architecture, names: Iterable[str]) -> str:
    """Shapes of the values of nodes."""
    facts = (model.facts.get(name, ("", None)) for name in names)
    texts = [shape_text(shape, model.sizes) for _, shape in facts if shape is not None]
    more = f" and {len(texts) - _MAX_NAMED} more" if len(texts) > _MAX_NAMED else ""
    return ", ".join(texts[:_MAX_NAMED]) + more


def tips(model: Architecture, graph: FoldedGraph, painted: Painting) -> dict[str, list[str]]:
    """Return the lines of the tooltip by key of the box or frame: name, type, output, parameters, painted value."""
    found = {box.id: _tip(model, box, painted) for box in graph.boxes}
    for path in graph.opened:
        row, value = model.rows.get(path), painted.of([path])
        if row is not None:
            output = outputs_text(model, row.outputs)
            found[FRAME + path] = [
                plain(path), plain(row.type, 60), output, f"{row.num_parameters:,}", _told(value, painted),
            ]  # fmt: skip
        else:
            found[FRAME + path] = [plain(path), "", "", "", _told(value, painted)]
    return found


def _tip(model: Architecture, box: Box, painted: Painting) -> list[str]:
    paths = [box.path] if box.kind == "module" else [one.path for one in box.members if one.kind == "module"]
    sizes = [model.rows[path].num_parameters for path in paths if path in model.rows]
    if box.kind == "group":
        name = f"{box.members[0].path} to {box.members[-1].path}"
    elif box.kind == "operator":
        name = f"{box.label} in {box.path or 'the model itself'}"
    else:
        name = box.path or box.label
    value = value_of(box, painted)
    return [
        plain(name),
        plain(box.type or box.kind, 60),
        output_text(model, box) or "–",
        f"{sum(sizes):,}" if sizes else "–",
        _told(value, painted),
    ]


def _told(value: ModuleValue | None, painted: Painting) -> str:
    text = told(None if value is None else value.value, painted.key)
    if value is None or value.num < 2:
        return text
    return f"{text} ({plain(value.of, 80)})" if value.of else f"{text} (of {value.num} tensors together)"


def shades(graph: FoldedGraph, painted: Painting, colours: Scale | None, dark: bool) -> list[Shade]:
    """Return the colours of the boxes; grey for a module without a value where others have one."""
    found = []
    for box in graph.boxes:
        plain_shade = _SHADES["port" if box.kind in ("input", "output") else box.kind, dark]
        value = value_of(box, painted)
        if painted.key == NOTHING or box.kind in ("input", "output") or (box.kind == "operator" and value is None):
            found.append(plain_shade)
        elif value is None or colours is None or value.value - value.value != 0:
            found.append(_MISSING[dark])
        else:
            fill = colours.colour(value.value)
            found.append(Shade(fill, plain_shade.edge, ink(fill), plain_shade.corner))
    return found
