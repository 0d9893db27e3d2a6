"""The Open Inference Protocol, version 2, over HTTP."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from rocketnpu._version import __version__
from rocketnpu.serving.limits import Limits
from rocketnpu.serving.metrics import CONTENT_TYPE, NO_MODEL, Metrics
from rocketnpu.serving.pool import Outputs, Pool, too_late
from rocketnpu.serving.reception import Reception
from rocketnpu.serving.refusal import RefusedError, malformed
from rocketnpu.serving.requests import read_request, write_answer

_log = logging.getLogger("rocketnpu.serving")
_HEADER_LENGTH = "Inference-Header-Content-Length"
_VERSION = "1"
"""Of every model: a server has one of each name."""
_DIGITS = 10
_SMALL = 1 << 14
"""Bytes of JSON, or elements to be written as JSON, that take less time than a change of threads."""
_GONE = 499
"""The status under which a request is counted whose client went away."""


def application(pools: Sequence[Pool], metrics: Metrics, limits: Limits, token: str | None) -> ASGIApp:
    """Return the application.

    Args:
        pools: the models.
        metrics: where requests are counted.
        limits: what is granted.
        token: what clients must show, if anything; health is told to anybody.
    """
    service = _Service(pools, metrics, limits)
    routes = [
        Route("/v2/health/live", _live),
        Route("/v2/health/ready", service.ready),
        Route("/v2", service.about),
        Route("/metrics", service.page),
    ]
    for place in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        routes += [
            Route(place, service.metadata),
            Route(f"{place}/ready", service.model_ready),
            Route(f"{place}/infer", service.infer, methods=["POST"]),
        ]
    handlers: Mapping[Any, Any] = {RefusedError: _refused, HTTPException: _no_such, Exception: _fault}
    app = Starlette(routes=routes, exception_handlers=dict(handlers), lifespan=service.lifespan)
    return app if token is None else _Doorkeeper(app, token)


class _Doorkeeper:
    """Lets in who shows the token, and anybody who asks for health."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._wanted = app, b"bearer " + token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and not scope["path"].startswith("/v2/health/"):
            shown = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            scheme, _, rest = shown.partition(b" ")
            if not hmac.compare_digest(scheme.lower() + b" " + rest.strip(), self._wanted):
                headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
                await _json({"error": "a token is needed"}, HTTPStatus.UNAUTHORIZED, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Service:
    def __init__(self, pools: Sequence[Pool], metrics: Metrics, limits: Limits) -> None:
        self._pools = {pool.name: pool for pool in pools}
        self._metrics, self._limits = metrics, limits
        self._reception = Reception(limits)
        self._clerk = ThreadPoolExecutor(1, "clerk")
        """Reads and writes JSON beside the event loop, one request at a time: that bounds the memory it takes."""

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> Any:
        """Have the clerk from the beginning, so that no thread comes later, and let it go at the end."""
        await asyncio.get_running_loop().run_in_executor(self._clerk, int)
        yield
        self._clerk.shutdown(wait=True, cancel_futures=True)

    async def ready(self, _request: Request) -> Response:
        """Say whether all models are ready."""
        return _health(all(pool.ready for pool in self._pools.values()))

    async def model_ready(self, request: Request) -> Response:
        """Say whether one model is ready."""
        return _health(self._pool(request).ready)

    async def about(self, _request: Request) -> Response:
        """Describe the server."""
        return _json({"name": "rocketnpu", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def metadata(self, request: Request) -> Response:
        """Describe a model."""
        pool = self._pool(request)
        signature = pool.signature
        found: dict[str, Any] = {
            "name": pool.name,
            "versions": [_VERSION],
            "platform": "onnx_onnxv1" if pool.path.suffix.lower() == ".onnx" else "tensorflow_tflite",
        }
        for what, ports in (("inputs", signature.inputs), ("outputs", signature.outputs)):
            found[what] = [port.metadata(batched=signature.batched) for port in ports]
        return _json(found)

    async def page(self, _request: Request) -> Response:
        """Tell Prometheus."""
        return Response(self._metrics.page(), media_type=CONTENT_TYPE)

    async def infer(self, request: Request) -> Response:
        """Run an inference, or a batch of them."""
        begin, label, status = time.monotonic(), NO_MODEL, _GONE
        try:
            pool = self._pool(request)
            label = pool.name
            response = await self._infer(request, pool, begin)
            status = response.status_code
        except RefusedError as refusal:
            status = refusal.status
            raise
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it
        except Exception:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            raise
        finally:
            self._metrics.answered(label, int(status), time.monotonic() - begin)
        return response

    async def _infer(self, request: Request, pool: Pool, begin: float) -> Response:
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "compressed requests are not taken", leave=True)
        async with self._reception.body(request) as body:
            header = self._header_length(request, len(body))
            text = len(body) if header is None else header
            asked = await self._aside(text, read_request, body, header, pool.signature, pool.capacity)
            seconds = min(self._limits.seconds, asked.seconds or self._limits.seconds)
            results = await self._results(request, pool, asked.items, begin + seconds)
            head = {"model_name": pool.name, "model_version": _VERSION}
            written = len(asked.items) * sum(port.elements for port, as_bytes in asked.outputs if not as_bytes)
            answer, length = await self._aside(written, write_answer, head, asked, pool.signature, results)
        if length is None:
            return Response(answer, media_type="application/json")
        return Response(answer, headers={_HEADER_LENGTH: str(length)}, media_type="application/octet-stream")

    def _header_length(self, request: Request, size: int) -> int | None:
        """Return where the JSON ends, where bytes follow it."""
        text = request.headers.get(_HEADER_LENGTH)
        length = size
        if text is not None:
            if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS) or int(text) > size:
                raise malformed(f"the {_HEADER_LENGTH} is no number of bytes that the body has")
            length = int(text)
        if length > self._limits.text:
            reason = f"the request has more than {self._limits.text} bytes of JSON: send tensors as binary data"
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)
        return None if text is None else length

    async def _results(self, request: Request, pool: Pool, items: Any, deadline: float) -> list[Outputs]:
        """Run inferences, until the deadline or until the client goes away; what has not begun then never does."""
        jobs = [asyncio.wrap_future(job) for job in pool.submit(items, deadline)]
        everything = asyncio.ensure_future(asyncio.gather(*jobs))
        gone = asyncio.ensure_future(_gone(request))
        try:
            left = max(0.0, deadline - time.monotonic())
            both: set[asyncio.Future[Any]] = {everything, gone}
            await asyncio.wait(both, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if everything.done():
                return everything.result()
            if gone.done():
                raise ClientDisconnect
            raise too_late()
        finally:
            gone.cancel()
            for job in jobs:
                job.cancel()
            await asyncio.gather(everything, gone, *jobs, return_exceptions=True)

    async def _aside(self, size: int, work: Callable[..., Any], *arguments: Any) -> Any:
        """Have the clerk do what takes long by its size; what does not, is done sooner than handed over."""
        if size <= _SMALL:
            return work(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._clerk, work, *arguments)

    def _pool(self, request: Request) -> Pool:
        pool = self._pools.get(request.path_params["name"])
        if pool is None or request.path_params.get("version", _VERSION) != _VERSION:
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is no such model here", leave=request.method == "POST")
        return pool


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _live(_request: Request) -> Response:
    return _health(True)


def _health(good: bool) -> Response:
    """Answer as the protocol says: 200 is yes, 4xx is no, and the body is empty."""
    return Response(status_code=HTTPStatus.OK if good else HTTPStatus.BAD_REQUEST)


def _json(document: object, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(document).encode(), status, headers, "application/json")


_CLOSING: Mapping[str, str] = {"Connection": "close"}
_Handler = Callable[[Request, Exception], Awaitable[Response]]


async def _refused(_request: Request, error: RefusedError) -> Response:
    headers = dict(_CLOSING) if error.leave else {}
    if error.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["Retry-After"] = "1"
    return _json({"error": str(error)}, error.status, headers)


async def _no_such(request: Request, error: HTTPException) -> Response:
    headers = dict(_CLOSING) if request.method not in ("GET", "HEAD") else {}
    return _json({"error": error.detail}, error.status_code, {**headers, **(error.headers or {})})


async def _fault(_request: Request, error: Exception) -> Response:
    _log.error("a request failed unforeseen", exc_info=error)
    return _json({"error": "internal fault: the server's log says more"}, HTTPStatus.INTERNAL_SERVER_ERROR, _CLOSING)
