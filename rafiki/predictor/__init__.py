"""The HTTP front of an inference job: passes a query to all members of the ensemble, combines what comes back."""
