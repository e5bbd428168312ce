"""Attacks on sealed files, each a script that somebody could run, and that must fail with its own error: `python -m tests.attacks`.

The victim uses the library as everybody does. The attacker has the format (`tests.vectors.sealed_format`), the file, and whatever keys the
attack says; `parts` takes files apart and puts them together again with every checksum right. Attacks that have a place of their own in the
format's vectors are here all the same: there it is the bytes that count, here what somebody wants.
"""
