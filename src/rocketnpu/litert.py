"""LiteRT: the host of whole models, and the reference. Nothing else asks for it, and models are read without it."""

from __future__ import annotations

from typing import Any

from rocketnpu.errors import UnsupportedError

PACKAGE = "ai-edge-litert"
"""Its name on PyPI; no Debian suite has it."""
ADVICE = (
    f"`pip install {PACKAGE}` in the environment that has rocketnpu; where that is the system's Python, "
    f"`python3 -m venv --system-site-packages ENV && ENV/bin/pip install {PACKAGE}`, then `ENV/bin/python -m rocketnpu`"
)


def require_litert() -> Any:
    """Return the module ``ai_edge_litert.interpreter``.

    Raises:
        UnsupportedError: it is not installed, or this machine cannot load it.
    """
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == "ai_edge_litert"
        reason = "is not installed" if absent else f"cannot be loaded ({error})"
        raise UnsupportedError(
            f"LiteRT {reason}, which runs whole models and the reference kernels: {ADVICE}"
        ) from None
    return interpreter
