"""`python -m tests.vectors.sealed_format.record`: writes `recorded.json` anew; see `recorded`."""

import json

from tests.vectors import gen_sealed
from tests.vectors.sealed_format.recorded import PATH, RECORDINGS

if __name__ == "__main__":
    RECORDINGS.recording = True
    gen_sealed.generate()
    PATH.write_text(json.dumps(RECORDINGS.used, indent=1, sort_keys=True) + "\n")
