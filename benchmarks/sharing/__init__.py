"""What sharing parameters between trials is worth."""
