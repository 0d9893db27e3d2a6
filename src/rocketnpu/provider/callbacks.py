"""The functions that ONNX Runtime calls. Each catches everything: what went wrong becomes text and a status.

Native structures are known to Python by their address; one that is not in the tables is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rocketnpu._version import __version__
from rocketnpu.delegate.delegate import cache_folder
from rocketnpu.delegate.lasting import lasting
from rocketnpu.delegate.log import Log
from rocketnpu.delegate.options import parse
from rocketnpu.device.discover import open_device
from rocketnpu.provider import NAME, VENDOR
from rocketnpu.provider.abi import CPU, FAIL, VERSION, Runtime, address, callback, ffi
from rocketnpu.provider.kernel import Kernel
from rocketnpu.provider.session import ProviderSession

_name, _vendor, _version = (lasting(ffi.new("char[]", text.encode())) for text in (NAME, VENDOR, __version__))
_PREFIX = f"ep.{NAME.lower()}."
"""Before the options of this provider among those of a session."""
_runtimes: dict[int, tuple[Any, Runtime]] = lasting({})
"""By address of a factory: the structure, which must stay alive, and the interface that made it."""
_sessions: dict[int, tuple[Any, ProviderSession, Runtime]] = lasting({})
"""By address of a provider."""
_kernels: dict[int, tuple[Any, Kernel, ProviderSession, Runtime]] = lasting({})
"""By address of what computes a part."""


def make_factory(base: int) -> int:
    """Make a factory of providers and return its address.

    Raises:
        DeviceError: ONNX Runtime is too old.
    """
    runtime = Runtime(base)
    members = {
        "version": VERSION,
        "name": _get_name,
        "vendor": _get_vendor,
        "devices": _devices,
        "create": _create,
        "release": _release,
        "vendor_id": _get_vendor_id,
        "release_version": _get_version,
        "allocator": _no_allocator,
        "release_allocator": _release_state,
        "transfer": _no_transfer,
        "streams": _no_streams,
    }
    native = ffi.new("Factory *", members)
    _runtimes[address(native)] = native, runtime
    return address(native)


def drop_factory(place: int) -> None:
    """Forget a factory; one that is none is ignored."""
    _runtimes.pop(place, None)


@callback("const char *(void *)")
def _get_name(_: Any) -> Any:
    return _name


@callback("const char *(void *)")
def _get_vendor(_: Any) -> Any:
    return _vendor


@callback("uint32_t(void *)")
def _get_vendor_id(_: Any) -> int:
    return 0


@callback("const char *(void *)")
def _get_version(_: Any) -> Any:
    return _version


@callback("bool(void *)")
def _no_streams(_: Any) -> bool:
    return False


@callback("void *(void *, void *, void *, void **)")
def _no_allocator(_: Any, __: Any, ___: Any, made: Any) -> Any:
    """Work on the host's memory."""
    made[0] = ffi.NULL
    return ffi.NULL


@callback("void *(void *, void **)")
def _no_transfer(_: Any, made: Any) -> Any:
    """Copy nothing between memories: there is only the host's."""
    made[0] = ffi.NULL
    return ffi.NULL


@callback("void *(void *, void **, size_t, void **, size_t, size_t *)")
def _devices(factory: Any, devices: Any, count: int, found: Any, most: int, made: Any) -> Any:
    """Offer the provider once, for the CPU: ONNX Runtime does not find NPUs of accel nodes by itself."""
    made[0] = 0
    entry = _runtimes.get(address(factory))
    if entry is None:
        return ffi.NULL
    runtime = entry[1]

    def work() -> Any:
        for place in range(count):
            if runtime.call("HardwareDevice_Type", devices[place]) == CPU and made[0] < most:
                pointer = runtime.pointer("CreateEpDevice", factory, devices[place], ffi.NULL, ffi.NULL)
                found[made[0]] = pointer
                made[0] += 1
                break
        return ffi.NULL

    return _guard("listing devices", runtime, Log(verbose=False), work)


@callback("void *(void *, void **, void **, size_t, void *, void *, void **)")
def _create(factory: Any, _d: Any, _m: Any, _c: int, options: Any, _l: Any, made: Any) -> Any:
    """Make a provider for one session."""
    entry = _runtimes.get(address(factory))
    if entry is None:
        return ffi.NULL
    runtime = entry[1]

    def work() -> Any:
        entries = _entries(runtime, options)
        chosen = parse(
            {key[len(_PREFIX) :]: value for key, value in entries.items() if key.lower().startswith(_PREFIX)}
        )
        device = open_device(chosen.device, cores=chosen.cores, chip=chosen.chip)
        session = ProviderSession(runtime, chosen, device, cache_folder(chosen))
        session.writes_contexts = entries.get("ep.context_enable") == "1"
        session.log.detail(f"loaded {device.name} driver")
        members = {
            "version": VERSION,
            "name": _get_name,
            "capability": _capability,
            "compile": _compile,
            "release_kernels": _release_kernels,
        }
        native = ffi.new("Ep *", members)
        _sessions[address(native)] = native, session, runtime
        made[0] = native
        return ffi.NULL

    return _guard("creating the execution provider", runtime, Log(verbose=False), work)


def _entries(runtime: Runtime, options: Any) -> dict[str, str]:
    """Read a session's options; those of this provider have its name before them."""
    pairs = runtime.pointer("GetSessionOptionsConfigEntries", options)
    try:
        return runtime.pairs(pairs)
    finally:
        runtime.call("ReleaseKeyValuePairs", pairs)


@callback("void(void *, void *)")
def _release(_: Any, provider: Any) -> None:
    """End a provider."""
    entry = _sessions.pop(address(provider), None)
    if entry is not None:
        _guard("ending the execution provider", entry[2], entry[1].log, entry[1].close)


@callback("void *(void *, void *, void *)")
def _capability(provider: Any, graph: Any, support: Any) -> Any:
    """Claim nodes of a network."""
    entry = _sessions.get(address(provider))
    if entry is None:
        return ffi.NULL
    _, session, runtime = entry

    def work() -> Any:
        fusion = ffi.new("FusionOptions *", {"version": VERSION, "drop_constants": True})
        for nodes in session.claim(graph):
            runtime.call("EpGraphSupportInfo_AddNodesToFuse", support, ffi.new("void *[]", nodes), len(nodes), fusion)
        return ffi.NULL

    return _guard("dividing the network", runtime, session.log, work)


@callback("void *(void *, void **, void **, size_t, void **, void **)")
def _compile(provider: Any, graphs: Any, fused: Any, count: int, infos: Any, contexts: Any) -> Any:
    """Make what computes each part that was claimed."""
    entry = _sessions.get(address(provider))
    if entry is None:
        return ffi.NULL
    _, session, runtime = entry

    def work() -> Any:
        for place in range(count):
            kernel = session.kernel(graphs[place], fused[place])
            members = {
                "version": VERSION,
                "create_state": _create_state,
                "compute": _compute,
                "release_state": _release_state,
            }
            native = ffi.new("Kernel *", members)
            _kernels[address(native)] = native, kernel, session, runtime
            infos[place] = native
            if session.writes_contexts and contexts != ffi.NULL:
                contexts[place] = session.context_node(fused[place], kernel)
        return ffi.NULL

    return _guard("placing a part", runtime, session.log, work)


@callback("void(void *, void **, size_t)")
def _release_kernels(_: Any, infos: Any, count: int) -> None:
    """Free what computes some parts."""
    for place in range(count):
        entry = _kernels.pop(address(infos[place]), None)
        if entry is not None:
            _, kernel, session, runtime = entry
            _guard("freeing a part", runtime, session.log, partial(session.drop, kernel))


@callback("void *(void *, void *, void **)")
def _create_state(info: Any, _: Any, state: Any) -> Any:
    state[0] = info
    return ffi.NULL


@callback("void(void *, void *)")
def _release_state(_: Any, __: Any) -> None:
    return None


@callback("void *(void *, void *, void *)")
def _compute(info: Any, _: Any, context: Any) -> Any:
    """Run a part."""
    entry = _kernels.get(address(info))
    if entry is None:
        return ffi.NULL
    _, kernel, session, runtime = entry

    def work() -> Any:
        kernel.compute(context)
        return ffi.NULL

    return _guard("running a part", runtime, session.log, work)


def _guard(where: str, runtime: Runtime, log: Log, work: Callable[[], Any]) -> Any:
    """Do ``work``; turn whatever it raises into text for the user and a status for the host."""
    try:
        return work()
    except BaseException as error:
        text = log.failure(where, error)
    return runtime.status(FAIL, text)
