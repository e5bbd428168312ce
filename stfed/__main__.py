"""`python -m stfed` is the command `stfed`."""

import sys

from stfed.cli import main

sys.exit(main())
