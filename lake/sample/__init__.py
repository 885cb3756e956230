"""Sample inputs in the real formats."""
