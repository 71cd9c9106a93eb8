"""What the trials of train jobs tell: pure functions over the answers of the admin."""
