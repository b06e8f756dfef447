"""How fast the course trains: scripts, their results as JSON, and the page made from them. `make bench` runs all."""
