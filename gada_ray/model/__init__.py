"""The network of section 3.3."""
