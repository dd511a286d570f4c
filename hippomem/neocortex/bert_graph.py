"""Builds a BERT encoder as a graph for onnxruntime, from the weights themselves and in its fastest kernels.

The weights stay outside of the graph, which is a few kilobytes: it is built within milliseconds, so none is kept on
disk. One output: the token embeddings (b, t, d), that late chunking needs and that pooling is a mean of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hippomem.neocortex.bert_folder import BertFolder
from hippomem.neocortex.encoder import Precision

Array = NDArray[Any]
OPSET, IR_VERSION = 18, 9  # what onnxruntime 1.20 reads
_FUSED = {"EmbedLayerNormalization", "MultiHeadAttention", "BiasGelu", "MatMulIntegerToFloat"}
_INLINE = 1024  # bytes up to which an array is part of the graph
# 7 bits: on processors without VNNI, two products of 8 bits overflow the 16 bits that they are added in, and the same
# text would have other vectors there.
_WEIGHT_LEVELS = 63
_TOKEN_LEVELS = 127


class _Builder:
    """Collects nodes and arrays."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.arrays: dict[str, Array] = {}

    def array(self, name: str, value: Any) -> str:
        self.arrays[name] = np.ascontiguousarray(value)
        return name

    def node(self, op: str, inputs: list[str], output: str, *more: str, **attributes: Any) -> str:
        from onnx import helper

        domain = "com.microsoft" if op in _FUSED else ""
        self.nodes.append(helper.make_node(op, inputs, [output, *more], domain=domain, **attributes))
        return output


def build_graph(bert: BertFolder, read: Callable[[str], Array], precision: Precision) -> tuple[bytes, dict[str, Array]]:
    """The graph, and the arrays to give to the session beside it. `read` gives a weight by its name.

    Inputs are `ids` and `mask`, (b, t) int32, output is `tokens`, (b, t, d) float32. In int8, every matrix product is
    of integers: weights of 7 bits with a scale for each output, activations of 8 bits with a scale for each token, so
    that a text's vectors do not depend on what else is in its batch.
    """
    graph = _Builder()
    product = _integer_product(graph) if precision == "int8" else _float_product(graph)
    x = _embeddings(graph, bert, read)
    for layer in range(bert.layers):
        last = layer == bert.layers - 1
        x = _layer(graph, bert, product, read, layer, x, "tokens" if last else f"{layer}.out")
    return _serialised(graph, bert.hidden)


def _embeddings(graph: _Builder, bert: BertFolder, read: Callable[[str], Array]) -> str:
    # There is one segment: its embedding is part of every position's.
    positions = read("embeddings.position_embeddings.weight") + read("embeddings.token_type_embeddings.weight")[0]
    inputs = [
        "ids",
        "",
        graph.array("words", read("embeddings.word_embeddings.weight")),
        graph.array("positions", positions),
        "",
        graph.array("embedded.gain", read("embeddings.LayerNorm.weight")),
        graph.array("embedded.bias", read("embeddings.LayerNorm.bias")),
    ]
    return graph.node("EmbedLayerNormalization", inputs, "embedded", "embedded.mask", epsilon=bert.epsilon)


Product = Callable[[str, Array, str], str]  # of an input and a weight (out, in), without bias


def _layer(
    graph: _Builder, bert: BertFolder, product: Product, read: Callable[[str], Array], layer: int, x: str, output: str
) -> str:
    def weight(name: str) -> Array:
        return read(f"encoder.layer.{layer}.{name}")

    def own(name: str) -> str:
        return f"{layer}.{name}"

    def added_and_normalised(inner: str, outer: str, part: str, name: str) -> str:
        # The bias last: else onnxruntime fuses all three into a kernel that takes more than twice as long.
        bias = graph.array(own(f"{part}.bias"), weight(f"{part}.dense.bias"))
        summed = graph.node("Add", [inner, outer], own(f"{part}.sum"))
        summed = graph.node("Add", [summed, bias], own(f"{part}.biased"))
        gain = graph.array(own(f"{part}.gain"), weight(f"{part}.LayerNorm.weight"))
        shift = graph.array(own(f"{part}.shift"), weight(f"{part}.LayerNorm.bias"))
        return graph.node("LayerNormalization", [summed, gain, shift], name, axis=-1, epsilon=bert.epsilon)

    parts = [f"attention.self.{name}" for name in ("query", "key", "value")]
    one = product(x, np.concatenate([weight(f"{part}.weight") for part in parts]), own("qkv"))
    thirds = [own(name) for name in ("query", "key", "value")]
    sizes = graph.array(own("sizes"), np.full(3, bert.hidden, np.int64))
    graph.node("Split", [one, sizes], *thirds, axis=2)
    biases = graph.array(own("qkv.bias"), np.concatenate([weight(f"{part}.bias") for part in parts]))
    attended = graph.node("MultiHeadAttention", [*thirds, biases, "mask"], own("attended"), num_heads=bert.heads)
    attended = product(attended, weight("attention.output.dense.weight"), own("projected"))
    x = added_and_normalised(attended, x, "attention.output", own("attention"))
    wide = product(x, weight("intermediate.dense.weight"), own("wide"))
    bias = graph.array(own("wide.bias"), weight("intermediate.dense.bias"))
    wide = graph.node("BiasGelu", [wide, bias], own("gelu"))
    return added_and_normalised(product(wide, weight("output.dense.weight"), own("narrow")), x, "output", output)


def _float_product(graph: _Builder) -> Product:
    def product(x: str, weight: Array, name: str) -> str:
        return graph.node("MatMul", [x, graph.array(f"{name}.weight", weight.T)], name)

    return product


def _integer_product(graph: _Builder) -> Product:
    last_axis = graph.array("last axis", np.array([-1], np.int64))
    least = graph.array("least", np.float32(1e-12))  # of what is divided by
    step = graph.array("step", np.float32(1 / _TOKEN_LEVELS))
    zero = graph.array("zero", np.uint8(_TOKEN_LEVELS + 1))

    def product(x: str, weight: Array, name: str) -> str:
        scale = np.maximum(np.abs(weight).max(axis=1) / _WEIGHT_LEVELS, 1e-12).astype(np.float32)
        whole = np.rint(weight / scale[:, None]).astype(np.int8).T
        arrays = graph.array(f"{name}.weight", whole), "step", graph.array(f"{name}.scale", scale)
        sizes = graph.node("Abs", [x], f"{name}.sizes")
        largest = graph.node("ReduceMax", [sizes, last_axis], f"{name}.largest", keepdims=1)
        largest = graph.node("Max", [largest, least], f"{name}.divisor")
        levels = graph.node("Div", [x, largest], f"{name}.levels")
        levels = graph.node("QuantizeLinear", [levels, step, zero], f"{name}.quantized")
        found = graph.node("MatMulIntegerToFloat", [levels, arrays[0], arrays[1], arrays[2], zero], f"{name}.found")
        return graph.node("Mul", [found, largest], name)

    return product


def _serialised(graph: _Builder, hidden: int) -> tuple[bytes, dict[str, Array]]:
    from onnx import TensorProto, helper

    tensors, outside = [], {}
    for name, array in graph.arrays.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=array.shape)
        if array.nbytes <= _INLINE:
            tensor.raw_data = array.tobytes()
        else:
            outside[name] = array
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "weights"), ("offset", "0"), ("length", str(array.nbytes))):
                tensor.external_data.add(key=key, value=value)
        tensors.append(tensor)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT32, ["b", "t"]) for name in ("ids", "mask")]
    output = helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["b", "t", hidden])
    made = helper.make_graph(graph.nodes, "bert", inputs, [output], tensors)
    domains = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(made, opset_imports=domains, ir_version=IR_VERSION)
    return model.SerializeToString(), outside
