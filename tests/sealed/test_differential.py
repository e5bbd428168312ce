"""One call on stock safetensors and on the sealed verbs: the same result, or an error that the same `except` catches."""

import functools
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from . import both

FRAMEWORKS = ["np", "pt"]
BASE = np.arange(24, dtype=np.float32).reshape(4, 6)
TENSOR = torch.from_numpy(BASE.copy())

# Errors of safetensors that are accidents of its making: what is caught here in their place.
INSTEAD: dict[type[Exception], type[Exception]] = {
    AttributeError: ValueError,
    KeyError: ValueError,
    OverflowError: ValueError,
    UnicodeEncodeError: ValueError,
}


def compare(call: Callable[[Any], Any], framework: str) -> None:
    """Makes the call with both and compares."""
    expected, their_error = both.outcome(lambda: call(both.plain(framework)))
    result, our_error = both.outcome(lambda: call(both.sealed(framework)))
    if their_error is None:
        assert our_error is None, our_error
        assert result == expected
    else:
        family = INSTEAD.get(type(their_error), type(their_error))
        assert isinstance(our_error, family), f"safetensors: {their_error!r}; here: {our_error!r} gives {result}"


def refused(call: Callable[[Any], Any], framework: str) -> None:
    """As `compare`, where both must refuse."""
    assert both.outcome(lambda: call(both.plain(framework)))[1] is not None
    compare(call, framework)


ARRAYS: dict[str, Any] = {
    "C order": {"a": BASE, "b": BASE[1:2], "c": BASE.reshape(2, 2, 6)},
    "no tensors": {},
    "zero dimensions": {"a": np.asarray(3.5), "b": np.asarray(True)},
    "empty": {"a": np.zeros((0, 3)), "b": np.zeros((2, 0, 4), np.int8), "c": np.zeros(0, bool)},
    "big-endian": {"a": BASE.astype(">f4"), "b": np.asarray(7, ">i8"), "c": np.arange(3, dtype=">u2")},
    "odd names": {"": BASE, " ": BASE, "a.b/c": BASE, "ключ": BASE, "\n\t\"'\\{}": BASE, "\x7f\u2028": BASE},
    "odd shapes": {"a": np.zeros((1, 1, 1, 1, 1, 1, 3), np.float16), "b": np.zeros((7, 1, 3), np.uint16)},
    "read-only": {"a": np.frombuffer(bytes(8), np.float64)},
    "the same array twice": {"a": BASE, "b": BASE},
    "complex": {"a": np.array([1 + 2j, -1j], np.complex64)},
    **{name: {"a": np.arange(6).astype(name).reshape(3, 2)} for name in ("bool", "int8", "uint8", "int16", "uint16", "float16", "int32")},
    **{name: {"a": np.arange(6).astype(name).reshape(3, 2)} for name in ("uint32", "float32", "complex64", "float64", "int64", "uint64")},
}
REFUSED_ARRAYS: dict[str, Any] = {
    "complex128": {"a": np.zeros(1, np.complex128)},
    "text": {"a": np.array(["a"])},
    "objects": {"a": np.array([None])},
    "times": {"a": np.zeros(1, "M8[s]")},
    "records": {"a": np.zeros(1, [("x", "f4")])},
    "long double": {"a": np.zeros(1, np.longdouble)},
    "a list": {"a": [1.0]},
    "a number": {"a": 1.0},
    "None": {"a": None},
    "a number for a name": {1: BASE},
    "bytes for a name": {b"a": BASE},
    "a lone surrogate": {"\ud800": BASE},
    "not a dict": [BASE],
}


@pytest.mark.parametrize("arrays", ARRAYS.values(), ids=ARRAYS)
def test_arrays(arrays: Any, tmp_path: Path) -> None:
    compare(lambda lib: lib.load(lib.save(arrays)), "np")
    compare(lambda lib: (lib.save_file(arrays, tmp_path / "f"), lib.load_file(tmp_path / "f")), "np")


@pytest.mark.parametrize("arrays", REFUSED_ARRAYS.values(), ids=REFUSED_ARRAYS)
def test_refused_arrays(arrays: Any, tmp_path: Path) -> None:
    refused(lambda lib: lib.save(arrays), "np")
    refused(lambda lib: lib.save_file(arrays, tmp_path / "f"), "np")
    assert list(tmp_path.iterdir()) == []


TENSORS: dict[str, Any] = {
    "C order": {"a": TENSOR, "b": torch.ones(3)},
    "no tensors": {},
    "zero dimensions": {"a": torch.tensor(3.5), "b": torch.tensor(True)},
    "empty": {"a": torch.zeros(0, 3), "b": torch.zeros(2, 0, dtype=torch.int8), "c": torch.zeros(2, 0)},
    "disjoint parts of one storage": {"a": TENSOR[:2], "b": TENSOR[2:]},
    "gradients": {"a": torch.nn.Parameter(torch.ones(3)), "b": torch.ones(2, requires_grad=True) * 2},
    "truth values": {"a": torch.tensor([[True], [False]])},
    **{
        name: {"a": torch.arange(24, dtype=torch.uint8).view(getattr(torch, name)).reshape(3, -1)}
        for name in (
            "int8",
            "int16",
            "uint16",
            "float16",
            "bfloat16",
            "int32",
            "uint32",
            "float32",
            "complex64",
            "float64",
            "int64",
            "uint64",
        )
    },
    **{
        name: {"a": torch.arange(12, dtype=torch.uint8).view(getattr(torch, name)).reshape(3, -1)}
        for name in ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2")
    },
}
NOT_FROM_BYTES = {"float8_e8m0fnu", "float4_e2m1fn_x2"}  # stock `load` does not know them, stock `load_file` does
NOT_BY_PREAD = {"float4_e2m1fn_x2"}  # stock takes the shape in the header for the tensor's
REFUSED_TENSORS: dict[str, Any] = {
    "transposed": {"a": TENSOR.T},
    "strided": {"a": TENSOR[:, ::2]},
    "sparse": {"a": TENSOR.to_sparse()},
    "shared": {"a": TENSOR, "b": TENSOR[1:]},
    "the same tensor twice": {"a": TENSOR, "b": TENSOR},
    "meta": {"a": torch.zeros(3, device="meta")},
    "complex128": {"a": torch.zeros(1, dtype=torch.complex128)},
    "an array": {"a": BASE},
    "a dict": {"a": {"some": "thing"}},
    "a number for a name": {1: TENSOR},
    "a lone surrogate": {"\ud800": TENSOR},
    "not a dict": "text",
    "4-bit floats without dimensions": {"a": torch.empty((), dtype=torch.float4_e2m1fn_x2)},
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(name: str, tmp_path: Path) -> None:
    tensors = TENSORS[name]
    compare(lambda lib: (lib.save_file(tensors, tmp_path / "f"), lib.load_file(tmp_path / "f")), "pt")
    if name not in NOT_BY_PREAD:
        compare(lambda lib: (lib.save_file(tensors, tmp_path / "f"), lib.load_file(tmp_path / "f", "cpu", backend="pread")), "pt")
    if name not in NOT_FROM_BYTES:
        compare(lambda lib: lib.load(lib.save(tensors)), "pt")


@pytest.mark.parametrize("tensors", REFUSED_TENSORS.values(), ids=REFUSED_TENSORS)
def test_refused_tensors(tensors: Any, tmp_path: Path) -> None:
    refused(lambda lib: lib.save(tensors), "pt")
    refused(lambda lib: lib.save_file(tensors, tmp_path / "f"), "pt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("metadata", [None, {}, {"a": "b"}, {"": ""}, {"ключ": "\n\"'\\"}, {"long": "x" * 100_000}])
def test_metadata(metadata: Any, framework: str, tmp_path: Path) -> None:
    tensors = {"a": BASE if framework == "np" else TENSOR}

    def call(lib: Any) -> Any:
        lib.save_file(tensors, tmp_path / "f", metadata)
        with lib.safe_open(tmp_path / "f", framework) as file:
            return file.metadata()

    compare(call, framework)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    "metadata", [{"a": 1}, {1: "a"}, {"a": None}, {"a": ["b"]}, "text", [("a", "b")], 3, {"\ud800": "a"}, {"a": "\ud800"}]
)
def test_refused_metadata(metadata: Any, framework: str) -> None:
    refused(lambda lib: lib.save({"a": BASE if framework == "np" else TENSOR}, metadata), framework)


OPENED: list[Callable[[Any], Any]] = [
    lambda file: file.keys(),
    lambda file: file.offset_keys(),
    lambda file: file.metadata(),
    lambda file: file.get_tensors(),
    lambda file: list(file.get_tensors()),
    lambda file: file.get_tensor("a"),
    lambda file: file.get_tensor("none"),
    lambda file: file.get_tensor(3),
    lambda file: file.get_slice("none"),
    lambda file: file.get_slice("a").get_shape(),
    lambda file: file.get_slice("a").get_dtype(),
    lambda file: file.get_slice("s").get_shape(),
    lambda file: len(file.get_slice("a")),
    lambda file: list(file),
    lambda file: "a" in file,
    lambda file: file["a"],
    lambda file: file.__enter__() is file,
    lambda file: (file.__exit__(None, None, None), file.keys()),
    lambda file: (file.__exit__(None, None, None), file.get_tensors()),
    lambda file: (file.__exit__(None, None, None), file.__enter__().metadata()),
]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("call", OPENED)
def test_an_opened_file(call: Callable[[Any], Any], framework: str, tmp_path: Path) -> None:
    def run(lib: Any) -> Any:
        arrays = {"s": np.asarray(3.0), "z": np.zeros((0, 3)), "a": BASE, "b": np.arange(4, dtype=np.int16)}
        lib.save_file(arrays if framework == "np" else {name: torch.from_numpy(array) for name, array in arrays.items()}, tmp_path / "f")
        return call(lib.safe_open(tmp_path / "f", framework))

    compare(run, framework)


ARGUMENTS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    *(((framework,), {}) for framework in ("numpy", "np", "pt", "torch", "pytorch", "nonsense", 5)),
    *((("pt", device), {}) for device in ("cpu", None, "nonsense", -1, 1.5)),
    *((("np", device), {}) for device in ("cpu", None, "nonsense", "cuda")),
    *((("np",), {"backend": backend}) for backend in ("mmap", "pread", "x")),
    (("np", "cpu", "mmap"), {}),
    (("np",), {"nonsense": 1}),
    (("np",), {"device": "cpu"}),
]


@pytest.mark.parametrize(("args", "kwargs"), ARGUMENTS)
def test_arguments_of_safe_open(args: tuple[Any, ...], kwargs: dict[str, Any], tmp_path: Path) -> None:
    def run(lib: Any) -> Any:
        lib.save_file({"a": BASE}, tmp_path / "f")
        return lib.safe_open(tmp_path / "f", *args, **kwargs).keys()

    if args == (5,):
        with pytest.raises(ValueError, match="framework 5 is invalid"):
            run(both.sealed("np"))
    else:
        compare(run, "np")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_files_that_are_not_there(framework: str, tmp_path: Path) -> None:
    for call in (
        lambda lib: lib.safe_open(tmp_path / "none", framework),
        lambda lib: lib.load_file(tmp_path / "none"),
        lambda lib: lib.load_file(3),
        lambda lib: lib.load_file(tmp_path / "none", backend="x"),
        lambda lib: lib.load("text"),
        lambda lib: lib.save_file({}, 3),
        lambda lib: lib.save_file({}),
        lambda lib: lib.load_file(tmp_path / "none", "cpu", "mmap"),
    ):
        refused(call, framework)
    with pytest.raises(FileNotFoundError) as theirs:
        both.plain(framework).safe_open(tmp_path / "none", framework)
    with pytest.raises(FileNotFoundError) as ours:
        both.sealed(framework).safe_open(tmp_path / "none", framework)
    assert str(ours.value) == str(theirs.value)


# What safetensors slices for numpy is what numpy slices; what it refuses for numpy, numpy may well allow, and so may we.
BOUNDS = st.none() | st.integers(-7, 7)
INDEX = st.integers(-8, 8) | st.builds(slice, BOUNDS, BOUNDS, st.none() | st.integers(1, 3)) | st.just(...)
BEYOND: st.SearchStrategy[Any] = st.none() | st.booleans() | st.just([0]) | st.just([]) | st.just("a") | st.just(1.5)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
@settings(max_examples=60)
@given(st.data())
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_slices(tmp_path_factory: Any, framework: str, data: st.DataObject) -> None:
    index: Any = data.draw(INDEX | BEYOND | st.lists(INDEX, max_size=3).map(tuple))
    folder = tmp_path_factory.mktemp("slices")

    def run(lib: Any) -> Any:
        lib.save_file({"a": BASE if framework == "np" else TENSOR}, folder / "f")
        return lib.safe_open(folder / "f", framework).get_slice("a")[index]

    if framework == "pt":
        compare(run, framework)
        return
    if index is True or index is False:  # safetensors takes it for 1 or 0, numpy for a mask: refused
        assert both.outcome(lambda: run(both.sealed("np")))[1] is not None
        return
    expected, error = both.outcome(lambda: run(both.plain("np")))
    result, ours = both.outcome(lambda: run(both.sealed("np")))
    if error is None:
        assert (result, ours) == (expected, None)
    elif ours is None:
        assert result == both.form(np.asarray(BASE[index]))
    else:
        assert isinstance(ours, INSTEAD.get(type(error), type(error)) | IndexError if type(error) is not SystemError else Exception)


SHAPES = hnp.array_shapes(min_dims=0, min_side=0, max_side=4)


@settings(max_examples=40)
@given(
    st.dictionaries(st.text(max_size=4), hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, min_side=0, max_side=4)), max_size=4)
)
def test_any_arrays(arrays: dict[str, Any]) -> None:
    if "__metadata__" not in arrays:
        compare(lambda lib: operator.itemgetter(*arrays)(lib.load(lib.save(arrays))) if arrays else None, "np")


def test_where_it_differs_on_purpose(tmp_path: Path) -> None:
    """Each with the reason; a release of safetensors that changes one of these should be noticed."""
    plain, sealed = both.plain("np"), both.sealed("np")
    # It writes an array's memory as it lies, which is another array.
    assert plain.load(plain.save({"a": BASE.T}))["a"].tolist() != BASE.T.tolist()
    assert sealed.load(sealed.save({"a": BASE.T}))["a"].tolist() == BASE.T.tolist()
    # It writes a tensor under the name of the metadata, and cannot read the file.
    assert plain.save({"__metadata__": BASE})
    with pytest.raises(ValueError, match="no tensor may be called"):
        sealed.save({"__metadata__": BASE})
    # A slice outlives its file there. Here leaving the file forgets keys and plaintext.
    for lib in (plain, sealed):
        lib.save_file({"a": BASE}, tmp_path / "f")
        with lib.safe_open(tmp_path / "f", "np") as file:
            view = file.get_slice("a")
        assert (both.outcome(functools.partial(view.__getitem__, 0))[1] is None) is (lib is plain)
    # It puts tensors on the meta device nowhere; torch does.
    plain, sealed = both.plain("pt"), both.sealed("pt")
    plain.save_file({"a": TENSOR}, tmp_path / "f")
    assert both.outcome(lambda: plain.load_file(tmp_path / "f", "meta"))[1] is not None
    sealed.save_file({"a": TENSOR}, tmp_path / "f")
    assert sealed.load_file(tmp_path / "f", "meta")["a"].is_meta
    # It knows two types in files, but not in bytes.
    tensors = {"a": torch.zeros(2, dtype=torch.float8_e8m0fnu)}
    assert isinstance(both.outcome(lambda: plain.load(plain.save(tensors)))[1], KeyError)
    assert both.form(sealed.load(sealed.save(tensors))) == both.form(tensors)
