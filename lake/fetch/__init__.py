"""Releases downloaded from their archives; it knows no mission."""
