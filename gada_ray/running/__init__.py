"""How a study is run: on a Ray cluster, by one driver at a time, in sight of people."""
