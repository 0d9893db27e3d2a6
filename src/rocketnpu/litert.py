"""LiteRT: the host of whole models, and the reference. Nothing else asks for it, and models are read without it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rocketnpu.errors import ModelError, UnsupportedError

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


def open_interpreter(path: Path, delegates: Sequence[object] = ()) -> Any:
    """Return an interpreter of a model, one thread, tensors allocated: LiteRT's built-in kernels and these delegates.

    Raises:
        ModelError: LiteRT refuses the model.
        UnsupportedError: it is not installed.
    """
    litert = require_litert()
    try:
        interpreter = litert.Interpreter(
            model_path=str(path),
            num_threads=1,
            # LiteRT's own default delegate would not change what is left, and greets on stderr.
            experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_delegates=list(delegates),
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"LiteRT refuses {path.name}: {first_line(error)}") from None
    return interpreter


def first_line(error: Exception) -> str:
    """Return the first of LiteRT's words on an error."""
    return str(error).strip().split("\n")[0]
