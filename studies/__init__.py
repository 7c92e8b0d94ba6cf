"""One file for each study: its question and expectation in the docstring, and STUDY. Importing a file runs nothing."""
