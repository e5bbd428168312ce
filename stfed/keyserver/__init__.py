"""The key service: hands a sealed file's key to those whom the file's policy allows, and to nobody without a log entry.

A file is sealed to the service's public key, as to any recipient, and names in its policy who may read it, when and for what. A reader in
possession of a key can ignore a policy; the service does not hand the key out. It sees no tensor: files stay where they are.

    KeyServer                     the reader's side: `load_file(path, service=KeyServer(...))`
    server > app > service        the process, HTTP, the decisions
    service > verdict             the caller, then the file
    store, logbook, rosterfile    what is kept; config, setup
    messages > statement; rules   what both sides say

What it does not protect against: a reader who was given the key may keep it; whoever runs the service, or steals its identity, can open
every file sealed to it; a refusal or a delay is always possible.
"""

from stfed.keyserver.client import KeyServer
from stfed.keyserver.errors import KeyServiceError

__all__ = ["KeyServer", "KeyServiceError"]
