"""From crops to one prediction an image, and how well predictions agree with people."""
