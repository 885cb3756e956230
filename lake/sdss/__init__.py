"""SDSS: stellar spectra, their labels, their classes."""
