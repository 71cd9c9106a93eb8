"""Clock, ids, logging, process and codec helpers; imports nothing of Rafiki."""
