"""Run every damaged model that the reader accepts; a child of ``test_damage``, as LiteRT may stop its process.

Arguments: the kind of damage, the resolver's name, how many seeds.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from rocketnpu.errors import RocketError
from rocketnpu.model.tflite import parse

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import damage


def run(data: bytes, resolver: OpResolverType) -> None:
    """Run one model on numbers; LiteRT's own refusals are fine."""
    interpreter = Interpreter(model_content=data, num_threads=1, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    random = np.random.default_rng(0)
    for taken in interpreter.get_input_details():
        interpreter.set_tensor(taken["index"], random.integers(0, 2, taken["shape"]).astype(taken["dtype"]))
    interpreter.invoke()


def main() -> None:
    make, resolver = getattr(damage, sys.argv[1]), getattr(OpResolverType, sys.argv[2])
    wholes = [model() for model in damage.MODELS]
    for seed in range(int(sys.argv[3])):
        data = make(wholes[seed % len(wholes)], seed)
        try:
            graph = parse(data)
        except RocketError:
            continue
        if sum(tensor.elements for tensor in graph.tensors.values()) > 1 << 24:
            continue
        print(seed, flush=True)
        with contextlib.suppress(ValueError, RuntimeError, TypeError):
            run(data, resolver)
    print("done")


if __name__ == "__main__":
    main()
