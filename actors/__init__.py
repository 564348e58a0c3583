"""Ray actors, cluster start-up and clients: the only code that knows Ray."""
