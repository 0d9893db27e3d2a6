"""The C side of a TensorFlow Lite host, as this package declares it.

TensorFlow Lite promises that its delegate structures only ever grow at the end. What is declared here are the fields
that exist since 2.5 (in :c:type:`Registration` also the later ones, because it travels by value), under our own names.
``tests/delegate/test_host_graph.py`` shows that the offsets are right: it reads models through them and through the
file reader, and wants the same graph.

One structure did change: an array of scales was ``{size, values...}`` and became ``{pointer, size, owning}``.
:func:`floats` tells the two apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cffi

from rocketnpu.delegate.lasting import lasting_callback

DECLARATIONS = """
typedef struct { int size; int data[]; } IntArray;
typedef struct { int size; float data[]; } InlineFloats;
typedef struct { float *data; int size; bool owning; } PointedFloats;

typedef struct { float scale; int32_t zero_point; } ScaleAndZero;
typedef struct { int kind; void *params; } QuantisationHead;
typedef struct { void *scales; IntArray *zero_points; int32_t axis; } AffineQuantisation;

typedef struct { int format; int size; IntArray *segments; IntArray *indices; } SparseLevel;
typedef struct { IntArray *order; IntArray *block_map; SparseLevel *levels; int count; } HostSparsity;

typedef struct {
    int type;
    void *data;
    IntArray *dims;
    ScaleAndZero first;
    int allocation;
    size_t bytes;
    const void *origin;
    const char *name;
    void *delegate;
    int handle;
    bool stale;
    bool variable;
    QuantisationHead quantisation;
    void *sparsity;
    const IntArray *signature;
} HostTensor;

typedef struct {
    IntArray *inputs;
    IntArray *outputs;
    IntArray *intermediates;
    IntArray *temporaries;
    void *user_data;
    void *options;
    const void *custom_options;
    int custom_options_size;
    void *delegate;
    bool side_effect;
} HostNode;

typedef struct HostContext HostContext;
typedef struct HostDelegate HostDelegate;

typedef struct {
    void *(*init)(HostContext *context, const char *data, size_t size);
    void (*free)(HostContext *context, void *user_data);
    int (*prepare)(HostContext *context, HostNode *node);
    int (*invoke)(HostContext *context, HostNode *node);
    const char *(*profiling)(const HostContext *context, const HostNode *node);
    int32_t builtin_code;
    const char *custom_name;
    int version;
    void *external;
    void *async_kernel;
    uint64_t in_place;
} Registration;

typedef struct {
    HostDelegate *delegate;
    IntArray *nodes;
    IntArray *inputs;
    IntArray *outputs;
} PartParams;

struct HostDelegate {
    void *data;
    int (*prepare)(HostContext *context, HostDelegate *delegate);
    void *copy_from;
    void *copy_to;
    void *free_handle;
    int64_t flags;
    void *opaque_builder;
};

struct HostContext {
    size_t tensor_count;
    int (*execution_plan)(HostContext *, IntArray **plan);
    HostTensor *tensors;
    void *host;
    int (*resize)(HostContext *, HostTensor *, IntArray *shape);
    void (*report)(HostContext *, const char *format, ...);
    int (*add_tensors)(HostContext *, int count, int *first);
    int (*node)(HostContext *, int index, HostNode **node, Registration **registration);
    int (*replace)(HostContext *, Registration, const IntArray *nodes, HostDelegate *);
    int threads;
    void *(*external)(HostContext *, int kind);
    void (*set_external)(HostContext *, int kind, void *);
    bool relax_precision;
    void *profiler;
    void *(*persistent_buffer)(HostContext *, size_t bytes);
    int (*buffer_for_eval)(HostContext *, size_t bytes, void **);
    int (*request_scratch)(HostContext *, size_t bytes, int *);
    void *(*scratch)(HostContext *, int);
    void *resize_copy;
    int (*preview)(HostContext *, const IntArray *nodes, PartParams **parts, int *count);
};

typedef struct {
    int padding, stride_width, stride_height, activation, dilation_width, dilation_height;
} ConvOptions;
typedef struct {
    int padding, stride_width, stride_height, depth_multiplier, activation, dilation_width, dilation_height;
} DepthwiseOptions;
typedef struct { int padding, stride_width, stride_height, activation; } TransposeConvOptions;
typedef struct { int padding, stride_width, stride_height, width, height, activation; } PoolOptions;
typedef struct { int activation, format; bool keep_dims; } FullyConnectedOptions;
typedef struct { int activation; } ActivationOptions;
typedef struct { int axis, activation; } ConcatenationOptions;
typedef struct { bool keep_dims; } ReducerOptions;
typedef struct { bool align_corners, half_pixel_centers; } ResizeOptions;
typedef struct { float alpha; } LeakyReluOptions;
typedef struct { float beta; } SoftmaxOptions;
typedef struct { bool approximate; } GeluOptions;
typedef struct { int count, axis; } PackOptions;
typedef struct { int axis, batch_dims; } GatherOptions;
typedef struct { int axes[8]; int count; } SqueezeOptions;
typedef struct { int size; } BlockOptions;
typedef struct { int mode; } MirrorPadOptions;
typedef struct { int begin, end, ellipsis, new_axis, shrink_axis; bool offset; } StridedSliceOptions;

void *malloc(size_t bytes);
"""

ffi = cffi.FFI()
ffi.cdef(DECLARATIONS)
_PROCESS = ffi.dlopen(None)

OK = 0
ERROR = 1
"""Status values that a callback returns."""

OPTIONAL = -1
"""Tensor number that stands for an absent optional input."""

INIT_FAILED = ffi.cast("void *", -1)
"""What ``init`` returns for a failure since TFLite 2.16; older hosts hand it on to ``prepare``, which refuses it."""

AFFINE = 1
"""Kind of quantisation whose parameters are :c:type:`AffineQuantisation`."""

READ_ONLY = 1
DYNAMIC = 4
"""Allocation kinds of a tensor: the model's own constant data; memory that is allocated while the graph runs."""

DENSE_LEVEL = 0
"""Format of a dimension of a sparse tensor that lists every index."""

FLAGS = 1 | 2
"""Delegate flags. 1: inputs may be resized later (without it the host freezes the graph); 2: the host then also
propagates shapes through the operators that the delegate replaced, so a resized part knows all its shapes."""


def callback(signature: str, failed: Any = None) -> Callable[[Callable[..., Any]], Any]:
    """Make a C function of a Python function, as a decorator; ``failed`` is returned should it raise after all."""
    return lasting_callback(ffi, signature, failed)


def integers(array: Any) -> tuple[int, ...]:
    """Read an ``IntArray *``; a null pointer is empty."""
    return tuple(ffi.unpack(array.data, array.size)) if array != ffi.NULL else ()


def floats(array: Any, count: int) -> tuple[float, ...] | None:
    """Read an array of ``count`` floats in either of its layouts, or return None if it is neither.

    In the old layout the first word is the count. In the new one it is the low half of a pointer to 4-byte values,
    and the count follows the pointer.
    """
    if array == ffi.NULL:
        return None
    inline = ffi.cast("InlineFloats *", array)
    if inline.size == count:
        return tuple(ffi.unpack(inline.data, count))
    pointed = ffi.cast("PointedFloats *", array)
    if pointed.size == count and pointed.data != ffi.NULL:
        return tuple(ffi.unpack(pointed.data, count))
    return None


def int_array(values: tuple[int, ...]) -> Any:
    """Make an ``IntArray *`` that lives as long as the returned object."""
    return ffi.new("IntArray *", [len(values), list(values)])


def given_array(values: tuple[int, ...]) -> Any:
    """Make an ``IntArray *`` that a host takes over and frees, as it frees its own: with the C library's ``free``.

    Raises:
        MemoryError: there is no memory.
    """
    memory = _PROCESS.malloc(ffi.sizeof("int") * (1 + len(values)))
    if memory == ffi.NULL:
        raise MemoryError(f"no memory for {len(values)} numbers")
    array = ffi.cast("IntArray *", memory)
    array.size = len(values)
    ffi.memmove(array.data, ffi.new("int[]", list(values)), ffi.sizeof("int") * len(values))
    return array
