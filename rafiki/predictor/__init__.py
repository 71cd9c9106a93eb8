"""The HTTP front of an inference job: passes each query to every member of the ensemble, and combines what comes back."""
