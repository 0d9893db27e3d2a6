"""What serving needs beside this package."""

from __future__ import annotations

from importlib.util import find_spec

from rocketnpu.errors import UnsupportedError


def require_serving(*, frigate: bool) -> None:
    """Look for the optional packages.

    Raises:
        UnsupportedError: one is not installed.
    """
    wanted = ["starlette", "uvicorn", "prometheus_client", *(["zmq"] if frigate else [])]
    if missing := [name for name in wanted if find_spec(name) is None]:
        raise UnsupportedError(f"serving needs {', '.join(missing)}: pip install 'rocketnpu[serve]'")
