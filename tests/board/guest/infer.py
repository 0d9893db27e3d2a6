"""infer.py DELEGATE whole|layers PICTURE OUT MODEL... - one inference of each model, its output to OUT/<model>.bin.

"layers" keeps all tensors, whereupon the host hands over every operator as a part of its own, and writes what all
parts gave to OUT/<model>.npu.

DELEGATE is "inprocess" for rocketnpu.Delegate, or a shared library's path. Runs in the guest and, for comparison, on
the host.
"""

import sys
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate
from PIL import Image

way, mode, picture, out, *models = sys.argv[1:]
for model in map(Path, models):
    if way == "inprocess":
        import rocketnpu

        delegate = rocketnpu.Delegate()
    else:
        delegate = load_delegate(way)
    interpreter = Interpreter(
        model_path=str(model),
        experimental_delegates=[delegate],
        num_threads=1,
        experimental_preserve_all_tensors=mode == "layers",
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    _, height, width, _ = given["shape"]
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.NEAREST), np.int16)
    low = np.iinfo(given["dtype"]).min
    interpreter.set_tensor(given["index"], (pixels + low)[None].astype(given["dtype"]))
    began = time.monotonic()
    interpreter.invoke()
    seconds = time.monotonic() - began
    interpreter.get_tensor(made["index"]).tofile(Path(out) / f"{model.stem}.bin")
    operators = interpreter._get_ops_details()
    parts = [operator for operator in operators if "delegate" in operator["op_name"].lower()]
    if mode == "layers":
        given_back = [interpreter.get_tensor(tensor).tobytes() for part in parts for tensor in part["outputs"]]
        (Path(out) / f"{model.stem}.npu").write_bytes(b"".join(given_back))
    print(f"{model.stem}: {len(parts)} parts on the NPU of {len(operators)} operators, {seconds:.3f} s", flush=True)
