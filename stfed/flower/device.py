"""`device_arrays`: a train function's reply whose tensors stay on the GPU until they are masked and packed.

    return Message(RecordDict({"arrays": device_arrays(model.state_dict()), "metrics": metrics}), reply_to=message)

Flower's own `ArrayRecord(model.state_dict())` copies every tensor to the host and serialises it. Behind `secagg_mod` nobody reads that: the
mod encodes, masks and packs on the GPU, and only the masked bytes are copied. To everybody else (another mod, a coordinator without secure
aggregation) the record is an ordinary `ArrayRecord`, which serialises itself when it is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flwr.app import Array, ArrayRecord
from flwr.common.constant import SType
from numpy.typing import NDArray

from stfed.errors import LocalError

if TYPE_CHECKING:
    import torch


class DeviceArray(Array):
    """An Array that is a torch tensor, and bytes only on demand.

    Args:
        tensor: not copied, so it must not change before the reply is sent.

    Raises:
        LocalError: a dtype that Flower's arrays do not have.
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype == "bfloat16":
            raise LocalError("Flower's arrays know no bfloat16", hint="pass tensor.float(), which has every value of it")
        self.__dict__.update(dtype=dtype, shape=tuple(tensor.shape), stype=SType.NUMPY, _tensor=tensor.detach(), _plain=None)

    def __repr__(self) -> str:
        return f"DeviceArray({self.dtype}{list(self.shape)} on {self.tensor.device})"

    @property
    def tensor(self) -> torch.Tensor:
        """The tensor, where it is."""
        tensor: torch.Tensor = self.__dict__["_tensor"]
        return tensor

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The serialised tensor, as of any Array."""
        return self._serialised().data

    def numpy(self) -> NDArray[Any]:
        """A copy on the host, or the tensor's own memory if that is there."""
        values: NDArray[Any] = self.tensor.cpu().numpy()
        return values

    def slice_array(self) -> list[tuple[str, Any]]:
        """See Flower."""
        return self._serialised().slice_array()

    def deflate(self) -> bytes:
        """See Flower. The type's name is part of it, and who reads it has to know that type."""
        return self._serialised().deflate()

    def _serialised(self) -> Array:
        if self.__dict__["_plain"] is None:
            self.__dict__["_plain"] = Array(self.numpy())
        plain: Array = self.__dict__["_plain"]
        return plain


def device_arrays(tensors: Mapping[str, torch.Tensor]) -> ArrayRecord:
    """The record of these tensors, such as a model's `state_dict()`; they stay on their device and are not copied.

    Raises:
        LocalError: a tensor of a dtype that Flower's arrays do not have.
    """
    record = ArrayRecord()
    for name, tensor in tensors.items():
        record[name] = DeviceArray(tensor)  # not through the constructor, which makes plain Arrays of what it is given
    return record
