"""The admin's REST interface, declared once: the admin's routes and the client's calls are both made from it."""
