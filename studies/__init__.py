"""One file a study. A file says what is asked and expected, and names STUDY; nothing runs when it is imported."""
