"""Runs in a browser: one process, this machine only, nothing to build and nothing from the network.

`watching` keeps up with the event logs of a folder, `facts` says what a page shows of them, `app` serves both, and `script.js` draws.
"""
