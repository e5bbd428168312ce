"""Models in several files, as Hugging Face cuts them, each file sealed and the set held together by a signed index.

    index = save_sharded(tensors, "folder", max_shard_size="5GB", recipients="colleague.pub", signer="me.key")
    tensors = load_sharded("folder", identity="colleague.key", trusted="me.pub")

In the folder there are `model-00001-of-00003.safetensors` and so on, `model.stfed.index.json`, and, unless `index="none"`, the usual
`model.safetensors.index.json`, which shows the tensors' names. A shard of another model, or of another version of the same, a missing or a
further one, two that changed places and an edited index are refused before any tensor is given out. A crash while a set is being written
leaves the one before, or the new one, whole. Where an older set is replaced, shards alternate between the usual names and names with a mark
of the set (`model-3f9a0c12-00001-of-00003.safetensors`): both cannot be there under the same name.

A shard by itself is no version of a model: `pins=` belongs to the set.
"""

from __future__ import annotations

from stfed.sealed.shardindex import Index, Shard, ShardError
from stfed.sealed.shardreading import load_sharded, safe_open_sharded
from stfed.sealed.shardwriting import save_sharded

__all__ = ["Index", "Shard", "ShardError", "load_sharded", "safe_open_sharded", "save_sharded"]
