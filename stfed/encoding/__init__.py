"""Tensors to vectors and back: what the secure sum adds up, and nothing about how it is kept secret.

`EncodingPlan` is what everybody agrees on, an `Update` is what a party sends, piece by piece or by `encode_update` as one `Vector`, and
`decode_sum` runs on the coordinator. A `Vector` is what is masked and summed, `pack_vector` and `unpack_vector` are its form on the wire.
"""

from stfed.encoding.arrays import Array
from stfed.encoding.metrics import MetricSchema
from stfed.encoding.pack import pack, packed_bytes, unpack
from stfed.encoding.pipeline import DecodedSum, EncodedUpdate, decode_sum, encode_update
from stfed.encoding.plan import EncodingPlan
from stfed.encoding.quantize import FillRandom
from stfed.encoding.tensors import TensorSpec
from stfed.encoding.update import Update
from stfed.encoding.vector import Vector, pack_vector, payload_bytes, unpack_vector
from stfed.encoding.wide import WideFormat

__all__ = [
    "Array",
    "DecodedSum",
    "EncodedUpdate",
    "EncodingPlan",
    "FillRandom",
    "MetricSchema",
    "TensorSpec",
    "Update",
    "Vector",
    "WideFormat",
    "decode_sum",
    "encode_update",
    "pack",
    "pack_vector",
    "packed_bytes",
    "payload_bytes",
    "unpack",
    "unpack_vector",
]
