"""`rafiki init`, `rafiki model new` and `rafiki template`: what they copy, and how."""
