"""Read what a file of ``torch.save`` declares (names, tensors, sizes) without creating any of it.

``torch.load(weights_only=True)`` runs no foreign code, but it allocates whatever the file declares. A file of one
kilobyte may declare a tensor of 10^12 numbers, a ``bytearray`` of that size, a storage larger than the file (torch then
reads past its end), a record that unpacks to a thousand times its size, or nested tuples that take exponential time.
So the pickle is first read here with placeholders for everything that it names, and the declared sizes are compared with
the size of the file.

References:
    https://docs.pytorch.org/docs/stable/notes/serialization.html
    https://docs.python.org/3/library/pickletools.html
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # protocol 2 uses the names of Python 2
from pathlib import Path
from typing import Any, TypeVar

# Enough for a network of a thousand layers and a history of a million losses.
LARGEST_PICKLE = 16 * 2**20
MOST_VALUES = 2_000_000
# The first bytes of a file of torch < 1.6: the pickled magic number.
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
ITEM_BYTES = {"Double": 8, "Float": 4, "BFloat16": 2, "Half": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1}
ITEM_BYTES |= {"Byte": 1, "Bool": 1}
STORAGES = {f"torch.{name}Storage": size for name, size in ITEM_BYTES.items()}
TENSOR = "torch._utils._rebuild_tensor_v2"
# The names that torch itself writes into a file of tensors. These only keep their arguments. torch also allows
# `torch.Tensor` and `builtins.bytearray`, which allocate as much as the file says.
TORCH_NAMES = {TENSOR, "torch._utils._rebuild_parameter", "collections.OrderedDict", "_codecs.encode", *STORAGES}


_PythonUnpickler: Any = pickle._Unpickler  # private; test_hostile_checkpoints pins what is used of it


class AuditError(Exception):
    """A file declares something that no file of weights contains; the message says what."""


def names_declared(path: Path) -> set[str]:
    """Return the full names of all functions and classes that a file names, after checking the sizes that it declares.

    Raises:
        AuditError: The file declares more than it contains, or more than a checkpoint needs.
        Exception: The file is damaged; a broken pickle or archive can raise any exception.
    """
    with path.open("rb") as file:
        if file.read(len(LEGACY_START)) == LEGACY_START:
            return _read_legacy(file, path.stat().st_size)
    return _read_archive(path)


def _read_archive(path: Path) -> set[str]:
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        if archive.comment:  # readers disagree on where the directory of such an archive begins
            raise AuditError("the archive has a comment, which torch never writes")
        records = {record.filename: record.file_size for record in archive.infolist()}
        if len({name.lower() for name in records}) < len(archive.infolist()):
            raise AuditError("the archive has two records with the same name")
        if any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist()):
            raise AuditError("the archive is compressed, which torch never does")
        if sum(records.values()) > size:
            raise AuditError(f"the records add up to {sum(records.values())} bytes in a file of {size}")
        folder = next(iter(records), "").partition("/")[0]
        name = f"{folder}/data.pkl"
        if records.get(name, 0) > LARGEST_PICKLE:
            raise AuditError(f"its data.pkl has {records[name]} bytes, the limit is {LARGEST_PICKLE}")
        outline = _Outline(io.BytesIO(archive.read(name)))
    _check_value_count(outline.load())
    for storage in outline.storages:
        _, kind, key, _, numel = storage
        has, asked = records.get(f"{folder}/data/{key}", 0), numel * STORAGES[kind]
        if asked > has:
            raise AuditError(f"it declares a storage of {asked} bytes and has {has}")
    return outline.names


def _read_legacy(file: io.BufferedReader, size: int) -> set[str]:
    start = io.BytesIO(file.read(LARGEST_PICKLE))  # after the magic number
    names: set[str] = set()
    declared: dict[str, int] = {}
    for _ in range(4):  # protocol version, system, the saved object, the order of its storages
        outline = _Outline(start)
        _check_value_count(outline.load())
        names |= outline.names
        declared |= {str(storage[2]): storage[4] * STORAGES[storage[1]] for storage in outline.storages}
        if any(storage[5:] != (None,) for storage in outline.storages):
            raise AuditError("it has views of storages, which torch no longer writes")
    if sum(declared.values()) > size:
        raise EOFError(f"it declares storages of {sum(declared.values())} bytes in a file of {size}")
    return names


_Kind = TypeVar("_Kind", bound="_Placeholder")


class _Placeholder:
    """Keeps the arguments that a function or class would have been called with."""

    name = ""
    args: tuple
    items: list

    def __new__(cls: type[_Kind], *args: object) -> _Kind:
        made = super().__new__(cls)
        made.args, made.items = args, []
        return made

    def __call__(self, *args: object) -> _Placeholder:  # the result of a pickled `getattr`
        return _Placeholder(self, *args)

    def __setstate__(self, state: object) -> None:
        self.items.append(state)

    def __setitem__(self, key: object, value: object) -> None:
        self.items.append(value)


class _Outline(_PythonUnpickler):
    """Reads the opcodes that torch's weights-only unpickler reads, and creates placeholders.

    It derives from the unpickler that is written in Python: the one in C allocates a memo as large as the file says.
    """

    OPCODES = """PROTO STOP GLOBAL NEWOBJ REDUCE BUILD APPEND APPENDS SETITEM SETITEMS MARK TUPLE TUPLE1 TUPLE2 TUPLE3 NONE
        NEWFALSE NEWTRUE EMPTY_TUPLE EMPTY_LIST EMPTY_DICT EMPTY_SET BININT BININT1 BININT2 BINFLOAT BINUNICODE
        SHORT_BINSTRING BINPERSID BINGET LONG_BINGET BINPUT LONG_BINPUT LONG1"""
    dispatch = {getattr(pickle, name)[0]: _PythonUnpickler.dispatch[getattr(pickle, name)[0]] for name in OPCODES.split()}

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.names: set[str] = set()
        self.storages: list[tuple] = []

    def find_class(self, module: str, name: str) -> type[_Placeholder]:
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        self.names.add(full)
        return type("Placeholder", (_Tensor if full == TENSOR else _Placeholder,), {"name": full})

    def persistent_load(self, pid: tuple) -> tuple:
        # ("storage", kind, key, location, count); old files add a view
        kind = getattr(pid[1], "name", None) if isinstance(pid, tuple) and len(pid) in (5, 6) else None
        if kind not in STORAGES or pid[0] != "storage" or not _counts((pid[4],)):
            raise AuditError("it has a storage that torch does not write")
        storage = (pid[0], kind, *pid[2:])
        self.storages.append(storage)
        return storage

    def load_setitem(self) -> None:
        _check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        _check_keys(self.stack[::2])
        super().load_setitems()

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems


class _Tensor(_Placeholder):
    def __new__(cls, storage: Any, offset: Any, size: Any, stride: Any, *rest: object) -> _Tensor:  # as a file has them
        shapes = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride)
        if not (isinstance(storage, tuple) and shapes and _counts((offset, *size, *stride))):
            raise AuditError("it has a tensor with an invalid shape")
        count, last = math.prod(size), sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if count > storage[4] or (count and offset + last >= storage[4]):
            raise AuditError(f"it declares a tensor of {count} numbers in a storage of {storage[4]}")
        return super().__new__(cls, storage, offset, size, stride, *rest)


def _counts(values: tuple) -> bool:
    return all(type(value) is int and 0 <= value < 2**48 for value in values)


def _check_keys(keys: list) -> None:
    # Hashing nested tuples that share one tuple takes exponential time.
    if not all(key is None or isinstance(key, (str, int, float)) for key in keys):
        raise AuditError("it has a dictionary with keys that are neither text nor numbers")


def _check_value_count(value: object) -> None:
    """Check the number of values. Each counts as often as something refers to it: a reader visits it that often."""
    waiting, seen = [value], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)
        elif isinstance(value, _Placeholder):
            waiting.extend((*value.args, *value.items))
            if value.name == "collections.OrderedDict" and value.args:
                raise AuditError("it has an ordered dictionary that torch does not write")
        if seen + len(waiting) > MOST_VALUES:
            raise AuditError(f"it contains more than {MOST_VALUES} values, or contains itself")
