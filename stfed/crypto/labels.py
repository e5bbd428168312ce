"""Every domain-separation label of the project, in one table, so that no two uses of a key can collide by accident.

A label names what is derived or authenticated, not how. It is the first field of what is hashed, derived or signed, and it is
length-prefixed there, so no label can be a prefix of another one's input. Changing what a label covers means a new label.
"""

from __future__ import annotations

from enum import Enum


class Label(bytes, Enum):
    """One entry a use. The suffix is the version of what it covers."""

    # secagg: keys
    PAIRWISE_KEY = b"stfed/secagg/pairwise-key/1"
    RATCHET_NEXT = b"stfed/secagg/ratchet-next/1"
    RATCHET_ROUND = b"stfed/secagg/ratchet-round/1"
    PAIRWISE_SEED = b"stfed/secagg/pairwise-seed/1"
    SHARE_KEY = b"stfed/secagg/share-key/1"
    SELF_SEED = b"stfed/secagg/self-seed/1"
    BOX_KEY = b"stfed/secagg/box-key/1"
    SELF_MASK = b"stfed/secagg/self-mask/1"
    PAIRWISE_MASK = b"stfed/secagg/pairwise-mask/1"
    # secagg: hashes
    JOIN = b"stfed/secagg/join/1"
    DIRECTORY = b"stfed/secagg/directory/1"
    COHORT = b"stfed/secagg/cohort/1"
    GRAPH = b"stfed/secagg/graph/1"
    TRANSCRIPT = b"stfed/secagg/transcript/1"
    MODEL = b"stfed/secagg/model/1"
    RUN_CONFIG = b"stfed/secagg/run-config/1"
    FUNCTION_INPUT = b"stfed/secagg/function-input/1"
    COMMIT_SELF_SEED = b"stfed/secagg/commit-self-seed/1"
    COMMIT_BOX_KEY = b"stfed/secagg/commit-box-key/1"
    COMMIT_PAIRWISE_SEED = b"stfed/secagg/commit-pairwise-seed/1"
    COMMIT_SHARE = b"stfed/secagg/commit-share/1"
    COMMITMENTS = b"stfed/secagg/commitments/1"
    # secagg: associated data and signatures
    SHARE_AD = b"stfed/secagg/share-ad/1"
    BOX_AD = b"stfed/secagg/box-ad/1"
    SIGN_MESSAGE = b"stfed/secagg/sign-message/1"
    SIGN_SURVIVORS = b"stfed/secagg/sign-survivors/1"
    # encoding
    ROTATION = b"stfed/encoding/rotation/1"
    ROUNDING = b"stfed/encoding/rounding/1"
    NOISE = b"stfed/encoding/noise/1"
    # encrypted
    CKKS_CONTEXT = b"stfed/encrypted/context/1"
    CKKS_CONTRIBUTION = b"stfed/ckks/contribution/1"
    CKKS_HOLDER = b"stfed/ckks/holder/1"
    CKKS_MEAN = b"stfed/ckks/mean/1"
    CKKS_PUBLIC = b"stfed/encrypted/public-file/1"
    CKKS_SECRET = b"stfed/encrypted/secret-file/1"
    CKKS_SECRET_WORDS = b"stfed/encrypted/secret-file-words/1"
    CKKS_SECRET_KEY = b"stfed/encrypted/secret-file-key/1"
    CKKS_SECRET_COMMITMENT = b"stfed/encrypted/secret-file-commitment/1"
    # party's store
    STORE_RECORD = b"stfed/party/store-record/1"
    STORE_RATCHET = b"stfed/party/store-ratchet/1"
    # keys
    KEY_FILE = b"stfed/keys/key-file/1"
    KEY_FILE_KEY = b"stfed/keys/key-file-key/1"
    KEY_FILE_COMMITMENT = b"stfed/keys/key-file-commitment/1"
    ROSTER = b"stfed/keys/roster/1"
    # sealed files
    SEALED_FILE_KEY = b"stfed/sealed/file-key/1"
    SEALED_PAYLOAD = b"stfed/sealed/payload/1"
    SEALED_POLICY = b"stfed/sealed/policy/1"
    SEALED_STATED = b"stfed/sealed/stated/1"
    SEALED_SIGNERS = b"stfed/sealed/signers/1"
    SEALED_PROVENANCE = b"stfed/sealed/provenance/1"
    SEALED_RECIPIENTS = b"stfed/sealed/recipients/1"
    SEALED_PASSPHRASE = b"stfed/sealed/passphrase/1"
    SEALED_STANZA_TAG = b"stfed/sealed/stanza-tag/1"
    SEALED_DIGESTS = b"stfed/sealed/digests/1"
    SEALED_MANIFEST = b"stfed/sealed/manifest/1"
    SEALED_SIGNATURE = b"stfed/sealed/signature/1"
    SEALED_GRANT = b"stfed/sealed/grant/1"
    SEALED_CHAIN = b"stfed/sealed/chain/1"
    SEALED_INDEX = b"stfed/sealed/index/1"
    # key service
    KEY_REQUEST = b"stfed/keyserver/request/1"
    KEY_REPLY = b"stfed/keyserver/reply/1"
    # sharded unmasking
    SHARD_KEY = b"stfed/shards/key/1"
    SHARD_REQUEST = b"stfed/shards/request/1"
    SHARD_REPLY = b"stfed/shards/reply/1"
