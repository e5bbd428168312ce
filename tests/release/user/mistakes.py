"""What a type checker has to tell a user; each line that is wrong says with which code."""

from __future__ import annotations

import numpy as np
from flwr.serverapp.strategy import FedAvg

from stfed.flower import SecureAggregation, Secureaggregation  # noqa: F401 - wrong: attr-defined
from stfed.keys import generate_keypair
from stfed.sealed.numpy import load_file, save_file
from stfed.secagg.policy import Policy

SecureAggregation(FedAvg, clip=1.0)  # wrong: arg-type
Policy(min_cohort="five")  # wrong: arg-type
Policy(minimum=5)  # wrong: call-arg
save_file({"w": np.eye(3)}, "m", recipient=generate_keypair()[1])  # wrong: call-arg
wrong: bytes = load_file("m")  # wrong: assignment
