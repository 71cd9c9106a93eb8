"""Python environments with the packages that models depend on."""
