"""Predictions of images from crops, their agreement with human scores, and conditioning fidelity."""
