"""What architecture search with shared weights is worth: against random architectures, at equal cost."""
