"""``python -m egress.golden``."""

import sys

from egress.golden import main

sys.exit(main())
