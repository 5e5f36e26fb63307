"""Which operators, and of which version, a ``.tflite`` file holds, read from the file itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Operator:
    """``name`` is TFLite's (``CONV_2D``), or the custom operator's own (``ethos-u``)."""

    name: str
    version: int


def count(model: Path) -> Counter[Operator]:
    """How often each operator occurs, over all subgraphs."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    content = schema.ModelT.InitFromPackedBuf(model.read_bytes())
    kinds = []
    for code in content.operatorCodes:
        number = max(code.builtinCode, code.deprecatedBuiltinCode)  # files of before 2021 have the second alone
        custom = number == schema.BuiltinOperator.CUSTOM
        kinds.append(Operator(code.customCode.decode() if custom else names[number], code.version))
    return Counter(kinds[operator.opcodeIndex] for graph in content.subgraphs for operator in graph.operators)
