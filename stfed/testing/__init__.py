"""A Flower federation in memory, with faults written as data: the real ClientApps, the real bytes, no network and no waiting."""

from stfed.testing.exchange import WireRecord
from stfed.testing.faults import Fault, FaultPlan
from stfed.testing.grid import InMemoryGrid
from stfed.testing.node import SimulatedNode

__all__ = ["Fault", "FaultPlan", "InMemoryGrid", "SimulatedNode", "WireRecord"]
