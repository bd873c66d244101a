"""Tensors out of other programs' checkpoints (`.pth`, safetensors), by a reader that runs nothing of theirs."""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from recast.models.description import BundleError
from recast.models.foreign.states import State

AVERAGED = ("params_ema", "params-ema", "g_ema", "G_ema", "netG_ema", "generator_ema", "model_ema", "ema")
"""Entries that programs keep averaged weights under, which are preferred to the others."""
WRAPPERS = (
    *AVERAGED, "params", "state_dict", "model_state_dict", "generator", "netG", "net_g", "G", "g", "gen", "net",
    "network", "model", "weights",
)  # fmt: skip
"""Entries that programs keep a generator's weights under, the best first."""
DEEPEST = 4
"""Levels of mappings that are looked through."""
EXPANSION = 4
"""How many times a file's bytes its tensors may take in memory: shared weights are written once and held twice."""
SLACK_BYTES = 64 << 20

Nested = dict[str, Any]
"""Mappings of mappings of tensors, by name; everything else that a file holds is left out."""

_ZIP, _TAIL = b"PK\3\4", b"PK\5\6"
_MAGIC = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the weights themselves: run `git lfs pull` where it lies",
    b"\x89HDF": "is an HDF5 file (Keras), which is not read; only .pth and .safetensors files are",
    b"\x08\x03\x12": "looks like an ONNX file, which is not imported; only .pth and .safetensors files are",
    b"GGUF": "is a GGUF file, which is not read; only .pth and .safetensors files are",
    b"\x1f\x8b": "is packed by gzip: unpack it first",
}


class _Inert:
    """Stands for everything in a pickle that is no tensor: takes whatever it is given and does nothing."""

    stands_for = "an object"

    def __new__(cls, *_: Any, **__: Any) -> "_Inert":
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...
    def __call__(self, *_: Any, **__: Any) -> "_Inert":
        return self

    def __setstate__(self, _: Any) -> None: ...
    def __setitem__(self, _: Any, __: Any) -> None: ...
    def append(self, _: Any) -> None: ...
    def extend(self, _: Any) -> None: ...
    def add(self, _: Any) -> None: ...
    def __hash__(self) -> int:
        return id(self)


def _allowed() -> dict[tuple[str, str], Any]:
    """The only names of a pickle that stand for what they say: what tensors are rebuilt by, and plain containers.

    Storages are torch's own affair: it reads their names as types of numbers, before it asks for them here.
    """
    utils = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")
    found: dict[tuple[str, str], Any] = {("torch._utils", name): getattr(torch._utils, name) for name in utils}
    found |= {("torch", "Size"): torch.Size, ("torch", "device"): torch.device}
    found |= {("torch", name): value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
    return found | {("collections", "OrderedDict"): OrderedDict}


class _Unpickler(pickle.Unpickler):
    """Builds tensors; every other global of the file becomes inert: nothing of the file's is imported or called."""

    _names = _allowed()

    def find_class(self, module: str, name: str) -> Any:
        known = self._names.get((module, name))
        return type(name, (_Inert,), {"stands_for": f"{module}.{name}"}) if known is None else known


def _load_pickle(file: Any, **options: Any) -> Any:
    return _Unpickler(file, **options).load()


_INERT_PICKLE: Any = SimpleNamespace(
    __name__="inert", Unpickler=_Unpickler, load=_load_pickle, UnpicklingError=pickle.UnpicklingError
)
"""What `torch.load` takes in place of Python's pickle."""


def load(data: bytes, name: str, key: str = "") -> State:
    """The tensors of a `.pth` or safetensors file, of the best entry or of the one that `key` names.

    Raises:
        BundleError: neither of them, or no tensors in it.
    """
    return flat(read(data, name), name, key)


def read(data: bytes, name: str) -> Nested:
    """Everything in a `.pth` or safetensors file that is a tensor, under its names.

    Raises:
        BundleError: it is neither of them, is damaged, holds no tensors, or tensors beyond what its size can hold.
    """
    _refuse_what_is_none(data, name)
    try:
        if not data.startswith(b"PK") and data[8:9] == b"{":
            return dict(load_tensors(data))
        given = torch.load(io.BytesIO(data), map_location="cpu", weights_only=False, pickle_module=_INERT_PICKLE)
    except MemoryError as fault:
        raise BundleError(f"{name} asks for more memory than there is") from fault
    except (SafetensorError, zipfile.BadZipFile) as fault:
        raise BundleError(f"{name} is damaged: {_first_line(fault)}") from fault
    except Exception as fault:  # a stranger's pickle can make its reader raise anything
        raise BundleError(
            f"{name} is no checkpoint that can be read, or a damaged one: {_first_line(fault)}"
        ) from fault
    if isinstance(given, _Inert):
        raise BundleError(
            f"{name} is a pickled {given.stands_for}, which only its own code can open; where you trust it, load it "
            f"with that code, save its state_dict() with torch.save, and import that"
        )
    tensors = _tensors_of(given, DEEPEST)
    _refuse_expansion(tensors, len(data), name)
    return tensors


def flat(nested: Nested, name: str, key: str = "") -> State:
    """One state dict of what a file holds: the entry that `key` names (`state_dict.netG`), or the best.

    Raises:
        BundleError: there is no such entry, or no tensors at all.
    """
    if key:
        found = _entry(nested, key)
        if not found:
            raise BundleError(f"{name} has no entry {key!r}; it has {entries(nested)}")
        return found
    for wrapper in WRAPPERS:
        if isinstance(nested.get(wrapper), dict):
            return flat(nested[wrapper], name)
    state = {key: value for key, value in nested.items() if isinstance(value, Tensor)}
    if not state:
        raise BundleError(f"{name} holds no state dict; it has {entries(nested)}")
    return state


def _entry(nested: Nested, key: str) -> State:
    """What lies under a dotted name: an entry of its own, or all parameters whose names begin so."""
    if isinstance(nested.get(key), dict):
        return {k: v for k, v in nested[key].items() if isinstance(v, Tensor)}
    tensors = {name: value for name, value in nested.items() if isinstance(value, Tensor)}
    if begun := {name.removeprefix(f"{key}."): t for name, t in tensors.items() if name.startswith(f"{key}.")}:
        return begun
    for name, below in nested.items():
        if isinstance(below, dict) and key.startswith(f"{name}."):
            return _entry(below, key.removeprefix(f"{name}."))
    return {}


def entries(nested: Nested) -> str:
    """For people: the names at the top, those of tensors by their first part."""
    names = dict.fromkeys(key if isinstance(value, dict) else key.partition(".")[0] for key, value in nested.items())
    some = ", ".join(list(names)[:8])
    return (some + (f" and {len(names) - 8} more" if len(names) > 8 else "")) or "no tensors"


def _tensors_of(given: Any, depth: int) -> Nested:
    """Tensors, and mappings that hold some, by name."""
    if not isinstance(given, Mapping) or not depth:
        return {}
    found: Nested = {}
    for key, value in given.items():
        if isinstance(value, Tensor):
            found[str(key)] = value.detach()
        elif below := _tensors_of(value, depth - 1):
            found[str(key)] = below
    return found


def _refuse_expansion(nested: Nested, size: int, name: str) -> None:
    """A tensor may not claim more values than were written of it, by which a small file takes all memory."""
    total, most = 0, EXPANSION * size + SLACK_BYTES
    for value in _all_tensors(nested):
        claimed = value.numel() * value.element_size()
        total += claimed
        if claimed > value.untyped_storage().nbytes() or total > most:
            raise BundleError(
                f"{name} of {size:,} bytes claims tensors of {total:,} bytes or more; it is damaged or a trap"
            )


def _all_tensors(nested: Nested) -> list[Tensor]:
    return [t for value in nested.values() for t in (_all_tensors(value) if isinstance(value, dict) else [value])]


def _refuse_what_is_none(data: bytes, name: str) -> None:
    """Say what a file is that is no checkpoint, by how it begins."""
    if not data:
        raise BundleError(f"{name} is empty")
    if data[:512].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise BundleError(f"{name} is a web page, not weights: the download got a page in their place")
    for magic, sentence in _MAGIC.items():
        if data.startswith(magic):
            raise BundleError(f"{name} {sentence}")
    if data[257:262] == b"ustar":
        raise BundleError(f"{name} is a tar archive; unpack it, and import the checkpoint in it")
    if data.startswith(_ZIP):
        _refuse_odd_zips(data, name)


def _refuse_odd_zips(data: bytes, name: str) -> None:
    if _TAIL not in data[-(1 << 16) - 22 :]:
        raise BundleError(f"{name} is cut short: the end of its {len(data):,} bytes is missing; download it again")
    try:
        members = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as fault:
        raise BundleError(f"{name} is damaged: {_first_line(fault)}") from fault
    names = {member.filename.partition("/")[2] for member in members}
    if "constants.pkl" in names:
        raise BundleError(
            f"{name} is a TorchScript program, which is not imported; where you trust it, save its weights alone: "
            f"torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
        )
    if sum(member.file_size for member in members) > len(data) + SLACK_BYTES:  # torch doesn't compress
        raise BundleError(f"{name} of {len(data):,} bytes unpacks to far more; it is damaged or a trap")


def _first_line(fault: BaseException) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0][:200]
