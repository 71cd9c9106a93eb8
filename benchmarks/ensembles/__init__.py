"""What an ensemble that is chosen on validation predictions is worth on data that it has never seen."""
