"""What this machine does with `stfed`, timed: whole rounds in one process, what they consist of, files; and the limits beside them.

`stfed bench` and `stfed plan` ask here, and so does `benchmarks/`, which compares with other implementations and is not part of the wheel.
"""
