"""The commands of `python -m gada_ray`, one module each, and what they print with."""
