"""Services as processes or containers: one interface, one back end for each technology."""
