"""Views that go on: what an admin pushes, drawn as it comes."""
