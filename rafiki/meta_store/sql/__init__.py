"""The meta store on SQLite or PostgreSQL, with SQLAlchemy Core."""
