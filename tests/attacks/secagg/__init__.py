"""A malicious coordinator against the real mod: every attack is mounted twice, against the defence and with the defence taken out.

`world` has the parties (`SecAggMod` with files of its own, a store on disk, a ClientApp that trains), `coordinator` who may say anything to
any of them. `loot` is what the coordinator can compute from all it has heard. An attack is one script that ends either with the refusal
that is due or, once `removal` has deleted the named check from the party's code, with what it was after: the victim's update in numbers,
both of its secrets, or the reply that it must not give.
"""
