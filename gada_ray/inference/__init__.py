"""A trained network on images: scores, quality maps, other databases."""
