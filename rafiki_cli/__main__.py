"""``python -m rafiki_cli``."""

import sys

from rafiki_cli.main import main

sys.exit(main())
