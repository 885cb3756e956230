"""Chandra Source Catalog: detections, their classes, their master classes."""
