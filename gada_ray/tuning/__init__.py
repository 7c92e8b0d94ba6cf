"""Studies: what they ask, how they search, where their runs are shown."""
