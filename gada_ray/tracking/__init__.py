"""How a study is shown: MLflow's runs and models, a copy of what the storage holds."""
