"""The scripts behind the Makefile; run them as `python -m tools.NAME` from the repository's root."""
