"""``rafiki doctor``: small checks, a module for each thing that is looked at."""
