"""One file a task: its dataset check, its query check, its prediction format, its ensemble rule."""
