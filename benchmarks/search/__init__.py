"""Search schemes side by side on real tuning problems."""
