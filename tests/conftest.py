"""One Hypothesis profile for all: no deadlines, because a test that imports torch first or shares two cores is slow once, not wrong.

And what keeps the whole run short: little garbage to look through, and the long tests first.
"""

import gc
import os
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import settings

settings.register_profile("stfed", deadline=None, max_examples=40)  # CI runs often, and other examples each time
settings.register_profile("thorough", deadline=None, max_examples=1000)  # pytest --hypothesis-profile thorough
settings.load_profile("stfed")

os.umask(0o022)  # files that are relied on are refused if a group may change them, and a umask of 002 would make all ours so


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What collecting makes stays to the end: modules, torch among them, and thousands of tests. The garbage collector, which benchmarks
    call as well, is not to go through all that again and again.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that start Flower's processes take up to minutes, mostly waiting. `--dist worksteal` cuts the list into a piece for each
    worker. One piece begins with all deployments, another one with the rest of these tests, so that none of them is left to the end, and no
    more than two keep the processors busy at a time.
    """
    workers = getattr(config, "workerinput", {}).get("workercount")
    if workers is None:
        return
    slow: dict[bool, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("e2e"):
            slow[item.path.parent.name == "deployment"].append(item)
    pieces = [slow[True], slow[False]] if workers > 1 else [slow[True] + slow[False]]
    rest = (item for item in items if not item.get_closest_marker("e2e"))
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        share = (len(items) - len(ordered)) // (workers - worker)
        own = pieces[worker] if worker < len(pieces) else []
        ordered += [*own, *islice(rest, max(0, share - len(own)))]
    items[:] = [*ordered, *rest]
