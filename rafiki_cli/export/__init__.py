"""``rafiki export``: fetches the parts of an ensemble, writes them into a folder, and tries the folder."""
