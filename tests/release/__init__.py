"""A release, as checks and a build: `make release VERSION=0.1.0`. Nothing is uploaded or tagged; it ends with the commands for that.

notes        the changelog has a dated section for the version, and the version is the same everywhere
artifacts    wheel and sdist: built twice to the same bytes, with nothing in them that is not to be there, and what they say of themselves
installed    the wheel in an environment of its own: `stfed --version`, and a round that sums
keycheck     no secret key in what is committed or packed
"""
