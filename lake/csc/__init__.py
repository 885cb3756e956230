"""Chandra Source Catalog: detections, their classes, their master classes."""

from lake.csc.detections import ROLES

__all__ = ["ROLES"]
