"""Assets, one module per mission."""
