"""What a file of ``torch.save`` declares, read without making any of it: names, tensors, sizes.

``torch.load(weights_only=True)`` runs nothing foreign, but it makes whatever it is told to: a file of a kilobyte may
ask for a tensor of 10^12 numbers, for a ``bytearray`` of as many bytes, for a storage larger than the bytes that the
file has for it (which is then read past its end), for a record that unpacks to a thousand times its size, or for
tuples of tuples that take for ever to look at. So the pickle is gone through here first, with stand-ins in the place
of everything that it names, and what it declares is held against what the file has.

References:
    https://docs.pytorch.org/docs/stable/notes/serialization.html
    https://docs.python.org/3/library/pickletools.html
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # of Python 2's names, which protocol 2 is written with
from pathlib import Path

# More than a network of a thousand layers and a history of a million losses take.
LARGEST_PICKLE = 16 * 2**20
MOST_VALUES = 2_000_000
# What `torch.save` of torch < 1.6 begins with: the pickle of its magic number.
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
ITEM_BYTES = {"Double": 8, "Float": 4, "BFloat16": 2, "Half": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1}
ITEM_BYTES |= {"Byte": 1, "Bool": 1}
STORAGES = {f"torch.{name}Storage": size for name, size in ITEM_BYTES.items()}
TENSOR = "torch._utils._rebuild_tensor_v2"
# What torch names itself in a file of tensors. Of its own list these only keep what they are given; `torch.Tensor` and
# `builtins.bytearray`, which are on it too, make as much as they are told to.
TORCH_NAMES = {TENSOR, "torch._utils._rebuild_parameter", "collections.OrderedDict", "_codecs.encode", *STORAGES}


class Refused(Exception):
    """A file declares what no file of weights has; the message says what."""


def names_declared(path: Path) -> set[str]:
    """Returns the full names of all functions and classes that a file asks for, having held its sizes to account.

    Raises:
        Refused: It declares more than it has, or more than a checkpoint needs.
        Exception: It is damaged: a broken pickle or archive can end in any of them.
    """
    with path.open("rb") as file:
        if file.read(len(LEGACY_START)) == LEGACY_START:
            return _read_legacy(file, path.stat().st_size)
    return _read_archive(path)


def _read_archive(path: Path) -> set[str]:
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        if archive.comment:  # readers may disagree on where the list of such an archive is
            raise Refused("its archive has a comment, which torch never writes")
        records = {record.filename: record.file_size for record in archive.infolist()}
        if len({name.lower() for name in records}) < len(archive.infolist()):
            raise Refused("its archive has two records of one name")
        if any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist()):
            raise Refused("its archive is compressed, which torch never does")
        if sum(records.values()) > size:
            raise Refused(f"its records add up to {sum(records.values())} bytes in a file of {size}")
        folder = next(iter(records), "").partition("/")[0]
        name = f"{folder}/data.pkl"
        if records.get(name, 0) > LARGEST_PICKLE:
            raise Refused(f"it describes itself in {records[name]} bytes, the most allowed is {LARGEST_PICKLE}")
        outline = _Outline(io.BytesIO(archive.read(name)))
    _walk(outline.load())
    for storage in outline.storages:
        _, kind, key, _, numel = storage
        has, asked = records.get(f"{folder}/data/{key}", 0), numel * STORAGES[kind]
        if asked > has:
            raise Refused(f"it declares {asked} bytes of numbers where it has {has}")
    return outline.names


def _read_legacy(file: io.BufferedReader, size: int) -> set[str]:
    start = io.BytesIO(file.read(LARGEST_PICKLE))  # the magic number is read already
    names, declared = set(), {}
    for _ in range(4):  # protocol, system, what was saved, the order of its storages
        outline = _Outline(start)
        _walk(outline.load())
        names |= outline.names
        declared |= {str(storage[2]): storage[4] * STORAGES[storage[1]] for storage in outline.storages}
        if any(storage[5:] != (None,) for storage in outline.storages):
            raise Refused("it has views of storages, which torch has not written for years")
    if sum(declared.values()) > size:
        raise EOFError(f"it declares {sum(declared.values())} bytes of numbers in a file of {size}")
    return names


class _StandIn:
    """Holds what a function or class would have been called with."""

    name = ""

    def __new__(cls, *args):
        made = super().__new__(cls)
        made.args, made.items = args, []
        return made

    def __call__(self, *args):  # what `getattr` would have found
        return _StandIn(self, *args)

    def __setstate__(self, state):
        self.items.append(state)

    def __setitem__(self, key, value):
        self.items.append(value)


class _Outline(pickle._Unpickler):
    """Reads what torch's own weights-only unpickler reads, and makes stand-ins.

    Python's unpickler in Python, since the one in C takes memory for a memo as large as the file says.
    """

    _READ = """PROTO STOP GLOBAL NEWOBJ REDUCE BUILD APPEND APPENDS SETITEM SETITEMS MARK TUPLE TUPLE1 TUPLE2 TUPLE3 NONE
        NEWFALSE NEWTRUE EMPTY_TUPLE EMPTY_LIST EMPTY_DICT EMPTY_SET BININT BININT1 BININT2 BINFLOAT BINUNICODE
        SHORT_BINSTRING BINPERSID BINGET LONG_BINGET BINPUT LONG_BINPUT LONG1"""
    dispatch = {getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]] for name in _READ.split()}

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.names: set[str] = set()
        self.storages: list[tuple] = []

    def find_class(self, module: str, name: str) -> type[_StandIn]:
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        self.names.add(full)
        return type("StandIn", (_Tensor if full == TENSOR else _StandIn,), {"name": full})

    def persistent_load(self, pid: tuple) -> tuple:
        # ("storage", kind, key, location, count), and a view of it in old files
        kind = getattr(pid[1], "name", None) if isinstance(pid, tuple) and len(pid) in (5, 6) else None
        if kind not in STORAGES or pid[0] != "storage" or not _counts((pid[4],)):
            raise Refused("it has something in the place of a tensor's numbers")
        storage = (pid[0], kind, *pid[2:])
        self.storages.append(storage)
        return storage

    def load_setitem(self):
        _check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self):
        _check_keys(self.stack[::2])
        super().load_setitems()

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems


class _Tensor(_StandIn):
    def __new__(cls, storage, offset, size, stride, *rest):
        shapes = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride)
        if not (isinstance(storage, tuple) and shapes and _counts((offset, *size, *stride))):
            raise Refused("it has a tensor of no sound shape")
        count, last = math.prod(size), sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if count > storage[4] or (count and offset + last >= storage[4]):
            raise Refused(f"it declares a tensor of {count} numbers over {storage[4]}")
        return super().__new__(cls, storage, offset, size, stride, *rest)


def _counts(values: tuple) -> bool:
    return all(type(value) is int and 0 <= value < 2**48 for value in values)


def _check_keys(keys: list) -> None:
    # A tuple of tuples of one tuple, as a key, is hashed for ever.
    if not all(key is None or isinstance(key, (str, int, float)) for key in keys):
        raise Refused("it has a dictionary whose keys are neither names nor numbers")


def _walk(value: object) -> None:
    """Counts every value as often as something holds it, which is how often a reader would meet it."""
    waiting, seen = [value], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)
        elif isinstance(value, _StandIn):
            waiting.extend((*value.args, *value.items))
            if value.name == "collections.OrderedDict" and value.args:
                raise Refused("it has an ordered dictionary that torch has not written")
        if seen + len(waiting) > MOST_VALUES:
            raise Refused(f"it holds more than {MOST_VALUES} values, or itself")
