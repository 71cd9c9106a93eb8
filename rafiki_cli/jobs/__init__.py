"""Job specs: what a YAML file asks for, what of it is there already, and how to get the rest."""
