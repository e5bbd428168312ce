"""What a coordinator learns of single parties, in pictures: with plain averaging, in a secure round, and in secure rounds in which it lies.

`clinics` are the parties, with an image each that nobody else is to see; `recovery` is the attacker's arithmetic; `world` puts a
coordinator in front of the clinics that can say anything; `lies` are what it says, `ending` and `loot` what it makes of the answers;
`attack` runs all of it and judges. `terminal`, `page` and `picture` show what came out. Nothing is simulated: the clinics are ClientApps
with the secure mod, on the grid of `stfed.testing`.
"""
