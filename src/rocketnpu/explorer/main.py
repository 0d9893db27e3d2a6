"""The adapter by which Model Explorer reads programs: ``model-explorer X.rktprog --extensions=rocketnpu.explorer``.

Model Explorer imports ``main`` of each extension; nothing else in this package needs it.
"""

from __future__ import annotations

from typing import Any

from model_explorer import Adapter, AdapterMetadata, graph_builder

from rocketnpu.explorer.nodes import Node, nodes_of
from rocketnpu.program import store


class ProgramAdapter(Adapter):  # type: ignore[misc]
    """Shows a compiled program: each task with its registers and its estimated time. Edges are the order of work."""

    metadata = AdapterMetadata(
        id="rocketnpu_program",
        name="rocketnpu program",
        description="Compiled NPU programs: tasks in the order in which they run, with registers and estimated times.",
        fileExts=["rktprog"],
    )

    def convert(self, model_path: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Read a program's file.

        Raises:
            ProgramError: it is damaged, or of another format version; Model Explorer shows the text.
        """
        del settings
        program = store.load(model_path)
        nodes = [_node(node) for node in nodes_of(program)]
        return {"graphs": [graph_builder.Graph(id=program.name, nodes=nodes)]}


def _node(node: Node) -> Any:
    return graph_builder.GraphNode(
        id=node.id,
        label=node.label,
        namespace=node.group,
        attrs=[graph_builder.KeyValue(key=key, value=value) for key, value in node.facts.items()],
        incomingEdges=[graph_builder.IncomingEdge(sourceNodeId=one) for one in node.before],
    )
