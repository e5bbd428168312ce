"""What the attacks are about: the published attacks on secure aggregation and the rules of our protocol, each with where it stands.

Every entry must have an attack in the suite, or say plainly what stands in for one. `docs/attacks.md` is written from here.
"""

from __future__ import annotations

from dataclasses import dataclass

BONAWITZ = "Bonawitz et al., CCS 2017"
BELL = "Bell et al., CCS 2020"


@dataclass(frozen=True)
class Rule:
    """One of them.

    Attributes:
        title: in a few words.
        source: where it comes from.
        stands: what refuses it beyond, or in the place of, the attacks listed; what is not covered.
    """

    title: str
    source: str
    stands: str = ""


PUBLISHED: dict[str, Rule] = {
    "A1": Rule("A cohort of one with threshold one", "on protocols whose parties take cohort and threshold from the coordinator"),
    "A2": Rule("Invented peers", "on protocols whose parties take each other's keys from the coordinator"),
    "A3": Rule("A victim both alive and dead", "on protocols whose parties take both lists as they come"),
    "S1": Rule("Both secrets of one party", BONAWITZ),
    "S2": Rule("Invented, borrowed and doubled parties", BONAWITZ),
    "S3": Rule("Two survivor sets", f"{BONAWITZ}, section 6.2"),
    "S4": Rule(
        "Isolating a few by graph or by chosen drops",
        BELL,
        "Ten thousand attempts to cut a drawn graph by chosen drops: `tests/secagg/test_sparse_cut.py`.",
    ),
    "S5": Rule("Another model for the victim", "Pasquini, Francati and Ateniese, CCS 2022"),
    "S6": Rule("The same keys, shares or signatures twice", BONAWITZ),
    "S7": Rule("Masks of a later round from those of an earlier one", "the flaw found in MicroSecAgg's mask update"),
    "S8": Rule(
        "A weak generator behind the masks",
        "issue 7522 of flwrlabs/flower, about masks from a seed of 32 bits",
        "Known-answer tests of the keystream: `tests/crypto`.",
    ),
    "S9": Rule("A sum over too few", "gradient inversion on small sums"),
    "S10": Rule(
        "Differences of sums over rounds",
        "So et al., AAAI 2023",
        "Refused is the very same message twice, and an encoding that changes. **Not covered** is everything less exact: a coordinator "
        "that changes one number of the config, or one bit of the model, has another message, and sums with and without a party differ by "
        "its update. Noise bounds what differences tell (docs/privacy.md).",
    ),
    "S11": Rule(
        "Models built to leak through a sum",
        "Fowl et al., ICLR 2022; LOKI, IEEE S&P 2024; sums of sparse updates, arXiv 2508.04285",
        "A party that names its model (`[model.tensors]`) trains no other; without that line it trains any, and its own code is what could "
        "notice. Sparse updates are not offered, so nothing shows which parties touched which coordinate.",
    ),
    "S12": Rule(
        "What an honest sum itself tells",
        "Ngo et al. 2024 and others: a sum is not differentially private",
        "In a differentially private run the parties add noise before they mask. A party whose policy has a `noise_multiplier` refuses "
        "sums with less, and no party unmasks one over fewer than the noise is made for (`tests/flower/test_dp.py`). **Not covered** "
        "without noise: the sum is what the coordinator is meant to see.",
    ),
    "S13": Rule(
        "Malformed and poisoned vectors",
        BONAWITZ,
        "What is no vector of the round's encoding is refused before it is added (`tests/flower/test_malicious_parties.py`). **Not "
        "covered**: a party that trains on purpose towards a bad model. Clipping bounds honest parties; nothing is proven of others.",
    ),
    "S14": Rule("A sum that wraps", "arithmetic", "The encoding proves that no sum can wrap: `tests/encoding`."),
    "S15": Rule("Wrong shares", BELL, "Who lied, and what cannot be told: `tests/secagg/test_disputes.py`."),
    "S16": Rule("Keys put in the place of others", "unknown key share, low-order points (RFC 7748, section 6.1)"),
    "S17": Rule("Messages in another place than their own", BONAWITZ),
    "S18": Rule("Late and doubled vectors", BONAWITZ),
    "S19": Rule(
        "Messages that cost more than they say",
        "denial of service",
        "Every list has a bound that is checked before it is read (`tests/test_wire.py`). **Not covered**: a coordinator can always stop a "
        "run.",
    ),
    "S20": Rule("Secrets in logs, errors and files", "whoever reads logs, error replies or a disk"),
    "S21": Rule("A weaker setting on the coordinator's word", "downgrade"),
    "S22": Rule(
        "Recorded now, decrypted later",
        "quantum computers",
        "**Not covered**: pairwise keys are X25519 alone. Every message has a field for the suite, so a hybrid one needs no new message.",
    ),
    "F": Rule("Around the protocol, through Flower", "messages, run config, metadata, errors"),
}

MARKED: dict[str, Rule] = {
    "R0": Rule("A cohort of one, or t shares that the corrupt parties have, is refused in every mode", "policy"),
    "R1": Rule("C is counted on the roster, because the coordinator picks the cohort", "parties"),
    "R2": Rule("Duplicate and low-order public keys refuse the directory; an epoch is joined once", "JOIN"),
    "R3": Rule("Identities are inside the pairwise keys", "JOIN"),
    "R4": Rule("Keys are ratcheted and erased; skipped rounds are capped", "JOIN"),
    "R5": Rule("Nobody holds a share of its own, x is computed, limbs are in the field", "PREPARE"),
    "R6": Rule("No edge to a member of U1 is left out", "PREPARE"),
    "R7": Rule("U1 and U2: this party in it, within what it knows, nobody twice, large enough, t of its holders", "TRAIN"),
    "R8": Rule("Everything that a train function gets is the same for all and inside the transcript, and used once", "TRAIN"),
    "R9": Rule("One signature under one survivor set a round, stored before it leaves", "CONFIRM"),
    "R10": Rule("The coordinator writes U2 down before the first CONFIRM or UNMASK leaves", "UNMASK"),
    "R11": Rule("Every step once, by a test-and-set outside of Flower's Context that survives restarts and notices copies", "once only"),
    "R12": Rule("2t > k + C on the complete graph; no sparse graph that anybody can compute", "parameters"),
}

RULES = {**PUBLISHED, **MARKED}
