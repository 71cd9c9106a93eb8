"""The services that train and predict, and the advisor's service. Each is a module that the admin starts."""
