"""How far boxes of SSDLite MobileDet are from LiteRT's, beside how far LiteRT's own kernels are from each other.

    python benchmarks/detections.py PICTURE...

Each line is a box that LiteRT's built-in kernels find with a score of 0.5 or more. Figures are the farthest of its four
edges, in per cent of the picture's width or height. LiteRT has three sets of kernels: those that are built in, XNNPACK,
which it takes where nobody says otherwise, and the plain reference. Columns "all rules" and "proven" are the chip
(simulated) under all hardware rules and under those that a board runs unasked, each from the three.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rocketnpu import zoo
from rocketnpu.inference import Inference
from rocketnpu.litert import require_litert
from rocketnpu.pictures import load_picture
from rocketnpu.vision.coco import names_for

KERNELS = {"built in": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "XNNPACK": "AUTO", "reference": "BUILTIN_REF"}
POLICIES = {"all rules": "auto", "proven": "mainline"}
SIZE, SCORE = 320, 0.5
Box = tuple[int, float, Any]


def boxes(outputs: Sequence[Any]) -> list[Box]:
    """Return class, score and edges as shares of the picture."""
    edges, classes, scores, _ = (np.asarray(output)[0] for output in outputs)
    return [
        (int(number), float(score), np.clip(box, 0, 1))
        for number, score, box in zip(classes, scores, edges, strict=True)
    ]


def litert(model: Path, kernels: str, picture: Any) -> list[Box]:
    runtime = require_litert()
    interpreter = runtime.Interpreter(
        model_path=str(model), experimental_op_resolver_type=getattr(runtime.OpResolverType, kernels)
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    interpreter.invoke()
    return boxes([interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()])


def nearest(box: Box, others: Sequence[Box]) -> Box:
    return min((one for one in others if one[0] == box[0]), key=lambda one: apart(box, one))


def apart(one: Box, other: Box) -> float:
    """Return the farthest edge, in per cent of the picture."""
    return float(np.abs(one[2] - other[2]).max()) * 100


def main() -> None:
    model = zoo.resolve("ssdlite_mobiledet")
    names = names_for(90) or ()
    worst: dict[str, float] = {}
    chips = {
        name: Inference(model, device="simulator", target=target, cache="off") for name, target in POLICIES.items()
    }
    for path in sys.argv[1:]:
        picture = load_picture(path, SIZE, SIZE)
        theirs = {name: litert(model, kernels, picture) for name, kernels in KERNELS.items()}
        ours = {name: boxes(chip.run([picture])) for name, chip in chips.items()}
        for box in (one for one in theirs["built in"] if one[1] >= SCORE):
            row = {
                "XNNPACK from built in": apart(box, nearest(box, theirs["XNNPACK"])),
                "reference from built in": apart(box, nearest(box, theirs["reference"])),
                "reference from XNNPACK": apart(nearest(box, theirs["XNNPACK"]), nearest(box, theirs["reference"])),
            }
            for policy, found in ours.items():
                mine = nearest(box, found)
                row |= {f"{policy} from {name}": apart(mine, nearest(box, some)) for name, some in theirs.items()}
            print(f"{Path(path).name}: {names[box[0]]} {box[1]:.2f}")
            for name, value in row.items():
                print(f"    {value:5.2f} {name}")
                worst[name] = max(worst.get(name, 0.0), value)
    print("the worst of all boxes")
    for name, value in worst.items():
        print(f"    {value:5.2f} {name}")
    for chip in chips.values():
        chip.close()


if __name__ == "__main__":
    main()
