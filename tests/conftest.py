"""One Hypothesis profile for all: no deadlines, because a test that imports torch first or shares two cores is slow once, not wrong."""

import os

from hypothesis import settings

settings.register_profile("stfed", deadline=None)
settings.load_profile("stfed")

os.umask(0o022)  # files that are relied on are refused if a group may change them, and a umask of 002 would make all ours so
