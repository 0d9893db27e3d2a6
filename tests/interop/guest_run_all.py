"""Runs inside the arm64 userland: many models through stock Mesa's delegate, one line of JSON each.

guest_run_all.py DELEGATE FOLDER MODEL...   (inputs are drawn with a fixed seed; outputs go to FOLDER/NAME.N.npy)
"""

import json
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate

SEED = 7
delegate, folder, *models = sys.argv[1:]
for model in map(Path, models):
    try:
        interpreter = Interpreter(
            model_path=str(model),
            experimental_delegates=[load_delegate(delegate)],
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        print(json.dumps({"model": model.stem, "error": str(error)[:200]}), flush=True)
        continue
    random = np.random.default_rng(SEED)
    for given in interpreter.get_input_details():
        limits = np.iinfo(given["dtype"])
        values = random.integers(limits.min, limits.max + 1, given["shape"]).astype(given["dtype"])
        interpreter.set_tensor(given["index"], values)
    interpreter.invoke()
    for number, made in enumerate(interpreter.get_output_details()):
        np.save(f"{folder}/{model.stem}.{number}.npy", interpreter.get_tensor(made["index"]))
    kinds = [item["op_name"] for item in interpreter._get_ops_details()]
    print(json.dumps({"model": model.stem, "kinds": kinds}), flush=True)
