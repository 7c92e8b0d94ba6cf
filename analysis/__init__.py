"""Reports of studies from MLflow. Imports neither torch nor ray, so that any machine with MLflow can make them."""
