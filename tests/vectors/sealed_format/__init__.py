"""The sealed tensor file written a second time, from `docs/format.md` alone: nothing here imports `stfed`.

Two implementations by two hands that agree to the byte say that the page is complete; one that agrees with itself says nothing.

    gen_sealed > lies_* > scenarios, damage    what can be wrong with a file, and what must come of it
    sharded, container > stanzas > hpke > keys what a file is, and a set of them
    floe, ghash                                the payload, and how whoever holds its key forges it
    encoding, recorded                         bytes, hashes, JSON, and randomness
"""
