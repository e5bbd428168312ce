"""One Hypothesis profile for all: no deadlines, because a test that imports torch first or shares two cores is slow once, not wrong."""

from hypothesis import settings

settings.register_profile("stfed", deadline=None)
settings.load_profile("stfed")
