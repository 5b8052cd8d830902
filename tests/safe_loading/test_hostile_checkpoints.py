"""Tests of hostile checkpoints: oversized declarations are refused before memory is allocated; noise never crashes."""

from __future__ import annotations

import io
import json
import pickle
import resource
import struct
import sys
import zipfile

import numpy as np
import pytest
import torch
from nussl.ml import SeparationModel

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, read_checkpoint, read_info, write_checkpoint
from nussl_transfer.errors import CheckpointError
from nussl_transfer.safe_loading.pickle_audit import LEGACY_START, _Outline
from nussl_transfer.safe_loading.safe_load import safe_load

FLOATS = b"ctorch\nFloatStorage\n"


@pytest.fixture(scope="module")
def good(tmp_path_factory, small_chimera, tiny_stft) -> bytes:
    """The bytes of a valid checkpoint of a small network."""
    info = CheckpointInfo(("bass", "drums", "voice"), "whole", 8000, tiny_stft)
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model.pth", small_chimera(), info).read_bytes()


def records(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def archive(path, content: dict[str, bytes], compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, value in content.items():
            file.writestr(name, value)
    return path


def pickled(path, program: bytes, numbers: bytes = b""):
    """Write an archive as torch does, with the given pickle program."""
    return archive(path, {"a/data.pkl": b"\x80\x02" + program + b".", "a/version": b"3\n", "a/data/0": numbers})


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def storage(numel: int) -> bytes:
    return b"(" + text("storage") + FLOATS + text("0") + text("cpu") + integer(numel) + b"tQ"


def integer(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def tensor(numel: int, size: int, stride: int = 1, offset: int = 0) -> bytes:
    call = b"ctorch._utils\n_rebuild_tensor_v2\n("
    shape = integer(size) + b"\x85" + integer(stride) + b"\x85" + b"\x89" + b"ccollections\nOrderedDict\n)R"
    return b"}" + text("x") + call + storage(numel) + integer(offset) + shape + b"tRs"


def test_torch_reads_the_forged_files_of_these_tests(tmp_path):
    path = pickled(tmp_path / "model.pth", tensor(4, 4), np.arange(4, dtype=np.float32).tobytes())
    assert torch.load(path, weights_only=True)["x"].tolist() == [0, 1, 2, 3]
    assert safe_load(path)["x"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (tensor(10**12, 10**12), "declares a storage of 4000000000000 bytes and has 16"),
        (tensor(5, 5), "declares a storage of 20 bytes and has 16"),
        (tensor(4, 10**12, stride=0), "a tensor of 1000000000000 numbers in a storage of 4"),
        (tensor(4, 4, stride=10**9), "a tensor of 4 numbers in a storage of 4"),
        (tensor(4, 2, offset=3), "a tensor of 2 numbers in a storage of 4"),
        (tensor(4, -1), "a tensor with an invalid shape"),
        (b"}" + text("x") + b"cbuiltins\nbytearray\n" + integer(10**12) + b"\x85Rs", r"names builtins\.bytearray"),
        (b"}" + text("x") + b"ctorch\nTensor\n" + integer(10**11) + b"\x85Rs", r"names torch\.Tensor"),
    ],
)
def test_a_tensor_larger_than_the_file_is_refused(tmp_path, program, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        safe_load(pickled(tmp_path / "model.pth", program, b"\0" * 16))


def doubled(times: int) -> bytes:
    """Return the program of a tuple of two tuples of two tuples..., a few bytes per level."""
    return b")q\x00" + b"h\x00h\x00\x86q\x00" * times


def test_nested_tuples_that_take_exponential_time_are_refused_at_once(tmp_path):
    with pytest.raises(CheckpointError, match="more than 2000000 values, or contains itself"):
        safe_load(pickled(tmp_path / "value.pth", doubled(60) + b"}" + text("x") + b"h\x00s"))
    with pytest.raises(CheckpointError, match="keys that are neither text nor numbers"):
        safe_load(pickled(tmp_path / "key.pth", doubled(60) + b"}h\x00Ns"))
    with pytest.raises(CheckpointError, match="or contains itself"):
        safe_load(pickled(tmp_path / "cycle.pth", b"}q\x00" + text("x") + b"h\x00s"))


def test_an_archive_that_unpacks_to_more_than_its_size_is_refused(tmp_path, good):
    content = records(good)
    bomb = {**content, "zeros/data/0": bytes(2**26)}
    path = archive(tmp_path / "bomb.pth", bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    with pytest.raises(CheckpointError, match="the archive is compressed"):
        safe_load(path)


def test_an_archive_with_two_records_of_the_same_name_is_refused(tmp_path, good):
    content = records(good)
    pickle_name = next(name for name in content if name.endswith("data.pkl"))
    path = archive(tmp_path / "two.pth", content)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as file:
        file.writestr(pickle_name, content[pickle_name])
    with pytest.raises(CheckpointError, match="two records with the same name"):
        safe_load(path)


def test_an_old_file_that_declares_more_than_it_has_is_refused(tmp_path):
    protocol, system = pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2)
    old = tensor(10**12, 10**12).replace(integer(10**12) + b"tQ", integer(10**12) + b"NtQ")
    saved = b"\x80\x02" + old + b"."
    path = tmp_path / "old.pth"
    path.write_bytes(LEGACY_START + protocol + system + saved + pickle.dumps(["0"], 2))
    with pytest.raises(CheckpointError, match="storages of 4000000000000 bytes in a file of"):
        safe_load(path)


def changed(good: bytes, path, change):
    """Write a checkpoint with a changed configuration."""
    source = path.with_suffix(".source")
    source.write_bytes(good)
    content = safe_load(source)
    config = json.loads(content["config"])
    change(config)
    content["config"] = json.dumps(config)
    torch.save(content, path)
    return path


CHANGES = {
    "hidden units": (lambda c: c["modules"]["recurrent_stack"]["args"].update(hidden_size=10**9), "hidden_size 10"),
    "a few more units": (lambda c: c["modules"]["recurrent_stack"]["args"].update(hidden_size=7), "expected"),
    "layers": (lambda c: c["modules"]["recurrent_stack"]["args"].update(num_layers=10**7), "num_layers 10000000"),
    "a class": (lambda c: c["modules"]["mask"].update({"class": "Transformer", "args": {}}), "layer 'Transformer'"),
    "no class": (lambda c: c["modules"]["mask"].update({"class": "__builtins__", "args": {}}), "layer '__builtins__'"),
    "a matrix": (
        lambda c: c["modules"].update(
            mel={"class": "MelProjection", "args": {"sample_rate": 8000, "num_frequencies": 10**6, "num_mels": 10**6}}
        ),
        "num_frequencies 1000000",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_network_that_does_not_match_its_weights_is_refused_before_it_is_built(tmp_path, good, name):
    change, sentence = CHANGES[name]
    path = changed(good, tmp_path / "model.pth", change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for load in (read_checkpoint, read_info, lambda p: SeparationModel.load(str(p))):
        with pytest.raises(CheckpointError, match=sentence):
            load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # kB


def mutated(rng: np.random.Generator, good: bytes, parts: dict[str, bytes]) -> bytes:
    """Return a checkpoint with an error in its bytes, or in one record of a valid archive."""
    if rng.random() < 0.5:
        return scrambled(rng, good)
    program = next(name for name in parts if name.endswith("data.pkl"))
    name = program if rng.random() < 0.8 else str(rng.choice(list(parts)))
    buffer = io.BytesIO()
    archive(buffer, {**parts, name: scrambled(rng, parts[name])})
    return buffer.getvalue()


def scrambled(rng: np.random.Generator, content: bytes) -> bytes:
    content = bytearray(content)
    kind = rng.integers(4)
    for _ in range(int(rng.integers(1, 9))):
        place, other = (int(number) for number in rng.integers(len(content) + 1, size=2))
        if kind == 0 and content:
            content[place % len(content)] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            content[place:place] = rng.bytes(int(rng.integers(1, 9)))
        elif kind == 2:
            del content[place : place + int(rng.integers(1, 65))]
        else:
            content[place : place + 32] = content[other : other + 32]
    return bytes(content)


def test_a_thousand_mutated_checkpoints_load_or_raise_checkpoint_error(tmp_path, good):
    parts, path = records(good), tmp_path / "model.pth"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for seed in range(1000):
        path.write_bytes(mutated(np.random.default_rng(seed), good, parts))
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            refused += 1
            assert len(str(error)) < 2000
    assert refused > 500  # the other mutations changed a weight or a value
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # kB


def test_this_python_has_the_private_unpickler_that_the_audit_uses():
    """pickle_audit derives from `pickle._Unpickler`, which is private: a new Python may change it."""
    advice = f"Python {sys.version.split()[0]} changed pickle._Unpickler: adapt safe_loading/pickle_audit.py"
    unpickler = getattr(pickle, "_Unpickler", None)
    assert unpickler is not None, advice
    assert all(getattr(pickle, name)[0] in unpickler.dispatch for name in _Outline.OPCODES.split()), advice
    seen = []

    class Probe(unpickler):
        dispatch = dict(unpickler.dispatch)

        def find_class(self, module, name):
            seen.append((module, name))
            return dict

        def persistent_load(self, pid):
            seen.append(pid)
            return pid

        def load_setitems(self):
            seen.append(list(self.stack))  # keys and values since the mark
            super().load_setitems()

        dispatch[pickle.SETITEMS[0]] = load_setitems

    program = b"\x80\x02ccollections\nOrderedDict\n)R0}(" + text("a") + b"K\x01" + text("b") + text("id") + b"Qu."
    assert Probe(io.BytesIO(program)).load() == {"a": 1, "b": "id"}, advice
    assert seen == [("collections", "OrderedDict"), "id", ["a", 1, "b", "id"]], advice
