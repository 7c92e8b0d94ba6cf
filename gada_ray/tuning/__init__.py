"""From a question to trials: study, search, runner, tracking."""
