"""File formats to Arrow, and back, with nothing lost."""
