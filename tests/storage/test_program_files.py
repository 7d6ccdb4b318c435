"""Files of programs from strangers: refused or read, never anything else, and nothing happens meanwhile."""

import gzip
import json
import os
import subprocess
import sys
import zlib
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from explorer.errors import DamagedFile, NotCaptured, ProgramError, UnsupportedFormat
from explorer.storage.disk import Disk
from explorer.storage.program_document import MAX_DEPTH, MAX_NODES, parse_program
from explorer.storage.program_file import MAX_COMPRESSED_BYTES, read_program, write_program


def entry(name, op="aten.neg.default", *args, **more):
    return {"name": name, "op": op, "args": list(args) or [{"node": "x"}], **more}


def document(*nodes, **changes):
    return {
        "format": 1,
        "route": "export",
        "why": [["export", "it did not work"]],
        "torch": "2.13.0",
        "step": 3,
        "autocast": "",
        "inputs": [{"name": "x", "path": "args[0]", "dtype": "float32", "shape": ["s0", 2]}],
        "symbols": {"s0": [1, None]},
        "weights": {"w": {"name": "fc.weight", "role": "param", "dtype": "float32", "shape": [2]}},
        "ties": [["fc.weight", "head.weight"]],
        "graph": {"nodes": list(nodes) or [entry("a", module=0, source="m.py:3")], "outputs": [{"node": "x"}]},
        "output_paths": [""],
        "modules": [{"path": "fc", "type": "Linear"}],
        "check": {"": 0.0},
        "fingerprint": 7,
    } | changes


@pytest.fixture
def path(tmp_path):
    return tmp_path / "0001-00000.json.gz"


def test_what_is_written_is_read(path):
    every_kind = [
        {"node": "x"}, 1, 1.5, True, None, "text", [1, [2]], {"float": "-inf"}, {"complex": [1, {"float": "nan"}]},
        {"slice": [None, 2, {"node": "x"}]}, {"dtype": "float32"}, {"layout": "strided"}, {"device": True},
        {"memory_format": "channels_last"}, {"graph": {"inputs": ["y"], "nodes": [], "outputs": [{"node": "y"}]}},
    ]  # fmt: skip
    size = write_program(path, document(entry("a", "aten.neg.default", *every_kind, kwargs={"dim": 1})), disk=Disk())
    assert size == path.stat().st_size
    program = read_program(path)
    assert program.graph.inputs == ("x", "w")
    assert program.graph.nodes[0].args[:-1] == tuple(every_kind[:-1])
    assert program.graph.nodes[0].args[-1]["graph"].inputs == ("y",)
    assert program.weights["w"].shape == (2,)
    assert program.symbols == {"s0": (1, None)}
    assert program.why == (("export", "it did not work"),)


def test_a_program_is_written_to_the_same_bytes_at_every_time(path):
    write_program(path, document(), disk=Disk())
    first = path.read_bytes()
    write_program(path, document(), disk=Disk())
    assert path.read_bytes() == first


def test_why_there_is_no_program_is_told(path):
    write_program(path, {"format": 1, "route": "none", "why": [["tape", "no luck"]]}, disk=Disk())
    with pytest.raises(NotCaptured, match="tape: no luck"):
        read_program(path)


def test_a_newer_version_is_refused_as_such(path):
    write_program(path, document() | {"format": 2}, disk=Disk())
    with pytest.raises(UnsupportedFormat):
        read_program(path)


BRANCH = {"graph": {"inputs": [], "nodes": [], "outputs": [{"node": "a"}]}}
WRONG = {
    "an operator with a colon": document(entry("a", "os:system", "touch x")),
    "an operator that is code": document(entry("a", "__import__('os')")),
    "code in a name": document(entry("a;import os")),
    "a reference forward": document(entry("a", "aten.neg.default", {"node": "b"}), entry("b")),
    "a cycle": document(entry("a", "aten.neg.default", {"node": "a"})),
    "two nodes of one name": document(entry("a"), entry("a")),
    "a node called like an input": document(entry("x")),
    "a branch that reads outside": document(entry("a"), entry("b", "cond", BRANCH)),
    "an argument of two keys": document(entry("a", "aten.neg.default", {"node": "x", "float": "nan"})),
    "an unknown argument": document(entry("a", "aten.neg.default", {"eval": "1"})),
    "a device by name": document(entry("a", "aten.neg.default", {"device": "cuda:0"})),
    "a number beyond 64 bits": document(entry("a", "aten.neg.default", 2**70)),
    "a long text": document(entry("a", "aten.neg.default", "x" * 5_000)),
    "half of a character": document(entry("a", "aten.neg.default", "\ud800")),
    "a module that is not listed": document(entry("a", module=5)),
    "a module below zero": document(entry("a", module=-1)),
    "arguments that are no list": document({"name": "a", "op": "aten.neg.default", "args": {"0": 1}}),
    "a node that is a list": document(["a"]),
    "a shape below zero": document(entry("a", shape=[-1])),
    "a shape of a hundred dimensions": document(entry("a", shape=[1] * 100)),
    "an expectation that is a text": document(entry("a", expect="yes")),
    "a weight of no role": document(weights={"w": {"name": "w", "role": "code", "dtype": "float32", "shape": []}}),
    "an unknown route": document(route="pickle"),
    "more outputs than names": document(output_paths=[]),
    "a complex number of texts": document(entry("a", "aten.neg.default", {"complex": ["a", "b"]})),
    "a size with one end": document(symbols={"s0": [1]}),
    "a size from more to less": document(symbols={"s0": [5, 2]}),
    "a size below zero": document(symbols={"s0": [-1, None]}),
    "a size of more than 64 bits": document(symbols={"s0": [1, 2**70]}),
    "a step of more than 64 bits": document(step=-(2**64)),
    "a fingerprint of more than 64 bits": document(fingerprint=10**400),
    "a call of more than 64 bits": document(modules=[{"path": "fc", "type": "Linear", "call": 2**64}]),
    "an expectation of more than 64 bits": document(entry("a", expect=2**64)),
    "a difference of more than any float": document(check={"": 10**400}),
    "a list for the document's inputs": document(inputs={"x": 1}),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_document_is_refused(path, what):
    path.write_bytes(gzip.compress(json.dumps(WRONG[what]).encode()))
    with pytest.raises(DamagedFile):
        read_program(path)


def test_arguments_are_nested_only_so_deep(path):
    deep = {"node": "x"}
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    with pytest.raises(ProgramError, match="deep"):
        parse_program(document(entry("a", "aten.neg.default", deep)))
    nested = "[" * 10_000 + "]" * 10_000
    path.write_bytes(gzip.compress(json.dumps(document()).replace('"aten.neg.default"', nested).encode()))
    with pytest.raises(DamagedFile):
        read_program(path)


def test_there_are_only_so_many_nodes():
    with pytest.raises(ProgramError, match="more than 200,000 nodes"):
        parse_program(document(*(entry(f"n{index}") for index in range(MAX_NODES + 1))))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        gzip.compress(b"[]"),
        gzip.compress(b"null"),
        gzip.compress(b'{"format": NaN}'),
        gzip.compress(json.dumps(document()).encode())[:-9],
        gzip.compress(b"\xff\xfe"),
        b"\x80\x04c__builtin__\neval\n.",
        gzip.compress(b" " * (64 * 2**20 + 1)),
        zlib.compress(json.dumps(document()).encode()),
        b"\0" * (MAX_COMPRESSED_BYTES + 1),
    ],
    ids=["empty", "no gzip", "list", "null", "NaN", "cut", "no text", "pickle", "bomb", "zlib", "large"],
)
def test_a_file_of_another_kind_is_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(DamagedFile):
        read_program(path)


def test_links_pipes_and_folders_are_not_opened(path, tmp_path):
    target = tmp_path / "target"
    write_program(target, document(), disk=Disk())
    path.symlink_to(target)
    with pytest.raises(DamagedFile):
        read_program(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DamagedFile):
        read_program(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(DamagedFile):
        read_program(path)


KEYS = ["node", "float", "slice", "graph", "name"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["x", "w", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2),
    max_leaves=6,
)


def places(value, here=()):
    yield here
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*here, key))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_mutated_document_is_a_program_or_a_program_error(data):
    found = json.loads(json.dumps(document(entry("a", "cond", {"node": "x"}, BRANCH_OK), entry("b", shape=["s0", 2]))))
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.sampled_from([place for place in places(found) if place]))
        owner = found
        for key in where[:-1]:
            owner = owner[key]
        owner[where[-1]] = data.draw(JSON)
    with suppress(ProgramError):
        assert parse_program(found).graph.inputs


BRANCH_OK = {
    "graph": {"inputs": ["y"], "nodes": [entry("z", "aten.neg.default", {"node": "y"})], "outputs": [{"node": "z"}]}
}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_damage(path, position, bit):
    data = bytearray(gzip.compress(json.dumps(document()).encode(), mtime=0))
    position %= len(data)
    data[position] ^= 1 << bit
    path.write_bytes(data)
    try:
        found = read_program(path)
    except (DamagedFile, UnsupportedFormat):
        return
    # Flags, time and system in gzip's header, and the bits that fill its last byte, say nothing about the content.
    assert found == parse_program(document())


def test_reading_a_hostile_program_imports_opens_and_connects_nothing(tmp_path):
    """A16 to A22 and others, in a process that watches itself."""
    for index, wrong in enumerate(WRONG.values()):
        (tmp_path / f"{index}.json.gz").write_bytes(gzip.compress(json.dumps(wrong).encode()))
    code = f"""
import sys
from pathlib import Path
from explorer.errors import DamagedFile
from explorer.storage.program_file import read_program
paths = sorted(Path({str(tmp_path)!r}).iterdir())
seen = []
def watch(event, args):
    if event in ("import", "exec", "compile", "socket.connect", "subprocess.Popen", "os.system", "ctypes.dlopen"):
        seen.append((event, args))
    if event == "open" and not isinstance(args[0], int) and Path(str(args[0])).parent != Path({str(tmp_path)!r}):
        seen.append((event, args))
sys.addaudithook(watch)
for path in paths:
    try:
        read_program(path)
    except DamagedFile:
        continue
    seen.append(path)
print(seen)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
