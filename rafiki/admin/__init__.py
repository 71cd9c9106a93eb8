"""The admin: REST interface, supervisor of all services, keeper of users, datasets, models and jobs."""
