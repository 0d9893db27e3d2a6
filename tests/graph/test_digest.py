"""Fingerprints of graphs: another one for whatever decides a result, the same for what does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rocketnpu.graph import DType, Quantisation
from rocketnpu.graph import operators as ops
from rocketnpu.graph.digest import digest
from sheets import Sheet, with_operator, with_tensor

CHANGES: list[dict[str, object]] = [
    {"shape": (4, 1)},
    {"dtype": DType.UINT8},
    {"is_dynamic": True},
    {"is_variable": True},
    {"quantisation": None},
    {"quantisation": Quantisation.per_tensor(0.25, 3)},
    {"quantisation": Quantisation.per_tensor(0.5, 4)},
    {"quantisation": Quantisation(np.float32([0.5]), np.array([3]), 1)},
    {"data": np.ones((1, 4), np.int8)},
    {"data": np.zeros((1, 4), np.int8)},
]


def test_fingerprints_tell_apart_whatever_decides_a_result() -> None:
    sheet = Sheet()
    sheet.op("RELU", [sheet.map(1, 4)], sheet.map(1, 4))
    graph = sheet.graph()
    graphs = [graph, *(with_tensor(graph, 0, **changes) for changes in CHANGES)]
    graphs += [with_operator(graph, 0, **changes) for changes in ({"kind": "TANH"}, {"attributes": ops.Pack()})]
    graphs += [replace(graph, inputs=()), replace(graph, outputs=(0, 1))]
    found = [digest(one) for one in graphs] + [digest(graph, "more"), digest(graph, 1), digest(graph, 1, 2)]
    assert len(set(found)) == len(found)
    assert all(len(one) == 64 for one in found)
    assert digest(replace(graph, name="other")) == digest(with_tensor(graph, 0, name="other")) == digest(graph)
    reversed_order = replace(graph, tensors=dict(reversed(graph.tensors.items())))
    assert digest(reversed_order) == digest(graph)
    column = with_tensor(graph, 0, data=np.arange(8, dtype=np.int8).reshape(4, 2)[:, :1].T)
    assert digest(column) == digest(with_tensor(graph, 0, data=np.array([[0, 2, 4, 6]], np.int8)))
