"""Losses (Eqs. 1-3), phases and checkpoints."""
