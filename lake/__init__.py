"""Lacus: an X-ray and optical survey lake."""
