"""What is asked: a study, the search for its trainings, their price and their results. Knows neither Ray nor MLflow."""
