"""``python -m rafiki_cli``."""

import sys

from rafiki_cli.start import main

sys.exit(main())
