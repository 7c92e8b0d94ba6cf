"""From MLflow to evidence. Knows neither torch nor ray: any machine that reaches the server will do."""
