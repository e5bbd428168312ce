"""What a run did, from the log of events that the coordinator wrote.

`schema` says what can be in that log, `eventlog` reads it, `run` makes one picture of it. Nothing here needs Flower, a key or the network:
a log can be looked at while it is written, years later, and on another machine.
"""
