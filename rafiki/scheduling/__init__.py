"""When batches of queries are predicted, and by whom. Pure: times and sizes in, decisions out."""
