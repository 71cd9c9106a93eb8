"""The programs that serve with a peer's own library, in the peer's environment: nothing of Rafiki is there."""
