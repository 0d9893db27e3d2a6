"""What of ONNX Runtime's C interface is used, declared by place.

The interface is a table of functions that only ever grows at its end, and structures of functions that a provider fills
in; each says for which version it was made, and newer runtimes look at no more of it than that version had. Places are
those of version 23 (``onnxruntime_c_api.h`` and ``onnxruntime_ep_c_api.h`` of ONNX Runtime 1.23.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cffi import FFI

from rocketnpu.delegate.lasting import lasting_callback
from rocketnpu.errors import DeviceError

VERSION = 23
"""Of the interface: ONNX Runtime 1.23."""
FAIL, INVALID_GRAPH, EP_FAIL = 1, 10, 11
"""Codes of a status."""
CPU, NPU = 0, 2
"""Kinds of hardware device."""
INT, INTS, FLOAT, FLOATS, STRING, STRINGS, GRAPH, TENSOR = range(1, 9)
"""Kinds of attribute."""

ffi = FFI()
ffi.cdef(
    """
    typedef struct { void *(*get_api)(uint32_t); const char *(*get_version)(void); } Base;
    typedef struct { void *functions[390]; } Api;
    typedef struct { void *functions[16]; } EpApi;

    typedef struct {
        uint32_t version;
        const char *(*name)(void *);
        void *(*capability)(void *, void *, void *);
        void *(*compile)(void *, void **, void **, size_t, void **, void **);
        void (*release_kernels)(void *, void **, size_t);
        void *unused[8];
    } Ep;

    typedef struct {
        uint32_t version;
        const char *(*name)(void *);
        const char *(*vendor)(void *);
        void *(*devices)(void *, void **, size_t, void **, size_t, size_t *);
        void *(*create)(void *, void **, void **, size_t, void *, void *, void **);
        void (*release)(void *, void *);
        uint32_t (*vendor_id)(void *);
        const char *(*release_version)(void *);
        void *validate;
        void *(*allocator)(void *, void *, void *, void **);
        void (*release_allocator)(void *, void *);
        void *(*transfer)(void *, void **);
        bool (*streams)(void *);
        void *unused_too;
    } Factory;

    typedef struct {
        uint32_t version;
        void *(*create_state)(void *, void *, void **);
        void *(*compute)(void *, void *, void *);
        void (*release_state)(void *, void *);
    } Kernel;

    typedef struct { uint32_t version; bool drop_constants; } FusionOptions;
    """
)

_CALLS = {
    "CreateStatus": (0, "void *(*)(int, const char *)"),
    "GetErrorMessage": (2, "const char *(*)(void *)"),
    "GetTensorMutableData": (51, "void *(*)(void *, void **)"),
    "CastTypeInfoToTensorInfo": (55, "void *(*)(void *, void **)"),
    "GetTensorElementType": (60, "void *(*)(void *, int *)"),
    "GetDimensionsCount": (61, "void *(*)(void *, size_t *)"),
    "GetDimensions": (62, "void *(*)(void *, int64_t *, size_t)"),
    "GetTensorTypeAndShape": (65, "void *(*)(void *, void **)"),
    "KernelContext_GetInput": (90, "void *(*)(void *, size_t, void **)"),
    "KernelContext_GetOutput": (91, "void *(*)(void *, size_t, const int64_t *, size_t, void **)"),
    "ReleaseStatus": (93, "void (*)(void *)"),
    "ReleaseValue": (96, "void (*)(void *)"),
    "ReleaseTensorTypeAndShapeInfo": (99, "void (*)(void *)"),
    "CreateOpAttr": (211, "void *(*)(const char *, const void *, int, int, void **)"),
    "ReadOpAttr": (272, "void *(*)(void *, int, void *, size_t, size_t *)"),
    "GetValueInfoName": (289, "void *(*)(void *, const char **)"),
    "GetValueInfoTypeInfo": (290, "void *(*)(void *, void **)"),
    "GetModelEditorApi": (291, "void *(*)(void)"),
    "GetKeyValuePairs": (298, "void (*)(void *, const char ***, const char ***, size_t *)"),
    "ReleaseKeyValuePairs": (300, "void (*)(void *)"),
    "HardwareDevice_Type": (307, "int (*)(void *)"),
    "GetEpApi": (317, "void *(*)(void)"),
    "ValueInfo_GetInitializerValue": (326, "void *(*)(void *, void **)"),
    "ValueInfo_IsConstantInitializer": (331, "void *(*)(void *, bool *)"),
    "Graph_GetName": (333, "void *(*)(void *, const char **)"),
    "Graph_GetNumOperatorSets": (336, "void *(*)(void *, size_t *)"),
    "Graph_GetOperatorSets": (337, "void *(*)(void *, const char **, int64_t *, size_t)"),
    "Graph_GetNumInputs": (338, "void *(*)(void *, size_t *)"),
    "Graph_GetInputs": (339, "void *(*)(void *, void **, size_t)"),
    "Graph_GetNumOutputs": (340, "void *(*)(void *, size_t *)"),
    "Graph_GetOutputs": (341, "void *(*)(void *, void **, size_t)"),
    "Graph_GetNumInitializers": (342, "void *(*)(void *, size_t *)"),
    "Graph_GetInitializers": (343, "void *(*)(void *, void **, size_t)"),
    "Graph_GetNumNodes": (344, "void *(*)(void *, size_t *)"),
    "Graph_GetNodes": (345, "void *(*)(void *, void **, size_t)"),
    "Graph_GetParentNode": (346, "void *(*)(void *, void **)"),
    "Node_GetName": (349, "void *(*)(void *, const char **)"),
    "Node_GetOperatorType": (350, "void *(*)(void *, const char **)"),
    "Node_GetDomain": (351, "void *(*)(void *, const char **)"),
    "Node_GetNumInputs": (353, "void *(*)(void *, size_t *)"),
    "Node_GetInputs": (354, "void *(*)(void *, void **, size_t)"),
    "Node_GetNumOutputs": (355, "void *(*)(void *, size_t *)"),
    "Node_GetOutputs": (356, "void *(*)(void *, void **, size_t)"),
    "Node_GetNumImplicitInputs": (357, "void *(*)(void *, size_t *)"),
    "Node_GetImplicitInputs": (358, "void *(*)(void *, void **, size_t)"),
    "Node_GetNumAttributes": (359, "void *(*)(void *, size_t *)"),
    "Node_GetAttributes": (360, "void *(*)(void *, void **, size_t)"),
    "OpAttr_GetTensorAttributeAsOrtValue": (362, "void *(*)(void *, void **)"),
    "OpAttr_GetType": (363, "void *(*)(void *, int *)"),
    "OpAttr_GetName": (364, "void *(*)(void *, const char **)"),
    "GetTensorData": (378, "void *(*)(void *, const void **)"),
    "GetSessionOptionsConfigEntries": (379, "void *(*)(void *, void **)"),
}
"""Place and signature of each function of the runtime that is called."""
_EP_CALLS = {
    "CreateEpDevice": (0, "void *(*)(void *, void *, void *, void *, void **)"),
    "EpGraphSupportInfo_AddNodesToFuse": (2, "void *(*)(void *, void **, size_t, FusionOptions *)"),
}
_EDITOR_CALLS = {
    "CreateNode": (
        6,
        "void *(*)(const char *, const char *, const char *, const char **, size_t, const char **, size_t, "
        "void **, size_t, void **)",
    ),
}
"""Functions that make models; a minimal build of the runtime has none of them."""
_PLAIN = {
    *("CreateStatus", "GetErrorMessage", "ReleaseStatus", "ReleaseValue", "ReleaseTensorTypeAndShapeInfo"),
    *("GetKeyValuePairs", "ReleaseKeyValuePairs", "HardwareDevice_Type", "GetEpApi"),
    "GetModelEditorApi",
}
"""Functions that return no status."""


class Runtime:
    """ONNX Runtime's functions by name; those that return a status raise it."""

    def __init__(self, base: int) -> None:
        """Take the interface that a library is given.

        Raises:
            DeviceError: the runtime is too old.
        """
        found = ffi.cast("Base *", base)
        api = found.get_api(VERSION)
        self.version: str = ffi.string(found.get_version()).decode()
        if api == ffi.NULL:
            raise DeviceError(f"ONNX Runtime {self.version} is too old: 1.23 is the first that this provider knows")
        table = ffi.cast("Api *", api).functions
        self._calls = {name: self._checked(name, table[place], kind) for name, (place, kind) in _CALLS.items()}
        table = ffi.cast("EpApi *", self.call("GetEpApi")).functions
        self._calls |= {name: self._checked(name, table[place], kind) for name, (place, kind) in _EP_CALLS.items()}
        editor = self.call("GetModelEditorApi")
        if editor != ffi.NULL:
            table = ffi.cast("EpApi *", editor).functions
            self._calls |= {name: self._checked(name, table[at], kind) for name, (at, kind) in _EDITOR_CALLS.items()}

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function.

        Raises:
            DeviceError: it failed; the message is the runtime's. Or the runtime is built without it.
        """
        if name not in self._calls:
            raise DeviceError(f"this ONNX Runtime is built without {name}")
        return self._calls[name](*arguments)

    def status(self, code: int, text: str) -> Any:
        """Make a status that tells the runtime of a failure."""
        return self.call("CreateStatus", code, text.encode("utf-8", "replace"))

    def _checked(self, name: str, address: Any, kind: str) -> Callable[..., Any]:
        function = ffi.cast(kind, address)
        if name in _PLAIN:
            plain: Callable[..., Any] = function
            return plain

        def checked(*arguments: Any) -> None:
            status = function(*arguments)
            if status != ffi.NULL:
                text = ffi.string(self.call("GetErrorMessage", status)).decode("utf-8", "replace")
                self.call("ReleaseStatus", status)
                raise DeviceError(f"ONNX Runtime: {name}: {text}")

        return checked

    # -- what is asked for again and again ---------------------------------------------------------------------

    def text(self, name: str, thing: Any) -> str:
        """Ask a thing for a text."""
        found = ffi.new("const char **")
        self.call(name, thing, found)
        return ffi.string(found[0]).decode("utf-8", "replace") if found[0] != ffi.NULL else ""

    def number(self, name: str, thing: Any, kind: str = "size_t") -> int:
        """Ask a thing for a number."""
        found = ffi.new(f"{kind} *")
        self.call(name, thing, found)
        return int(found[0])

    def pointer(self, name: str, *arguments: Any) -> Any:
        """Ask for one thing."""
        found = ffi.new("void **")
        self.call(name, *arguments, found)
        return found[0]

    def list(self, kind: str, what: str, thing: Any) -> list[Any]:
        """Ask a graph or a node for a list of things: ``kind`` is ``Graph`` or ``Node``."""
        count = self.number(f"{kind}_GetNum{what}", thing)
        found = ffi.new("void *[]", max(count, 1))
        if count:
            self.call(f"{kind}_Get{what}", thing, found, count)
        return [found[place] for place in range(count)]

    def pairs(self, pairs: Any) -> dict[str, str]:
        """Read key-value pairs."""
        keys, values, count = ffi.new("const char ***"), ffi.new("const char ***"), ffi.new("size_t *")
        self.call("GetKeyValuePairs", pairs, keys, values, count)
        return {
            ffi.string(keys[0][place]).decode("utf-8", "replace"): ffi.string(values[0][place]).decode(
                "utf-8", "replace"
            )
            for place in range(count[0])
        }

    def shape(self, info: Any) -> tuple[int, ...]:
        """Read a tensor's shape; open dimensions are negative."""
        count = self.number("GetDimensionsCount", info)
        sizes = ffi.new("int64_t[]", max(count, 1))
        self.call("GetDimensions", info, sizes, count)
        return tuple(int(sizes[place]) for place in range(count))


def callback(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Make a C function of a Python function, as a decorator."""
    return lasting_callback(ffi, signature)


def address(pointer: Any) -> int:
    """Return a pointer as a number."""
    return int(ffi.cast("uintptr_t", pointer))
