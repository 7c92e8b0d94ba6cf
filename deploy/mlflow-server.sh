#!/usr/bin/env bash
# An MLflow server for several people: runs in PostgreSQL, files in an artifact store, a host allow-list, passwords.
# Users are kept in basic_auth.db in the folder where it is started.
set -euo pipefail
: "${MLFLOW_BACKEND_STORE_URI:?such as postgresql+psycopg://mlflow:PASSWORD@127.0.0.1/mlflow}"
: "${MLFLOW_ARTIFACTS_DESTINATION:?s3://bucket/mlflow, or a folder}"
: "${ALLOWED_HOSTS:?names by which others reach it, with ports, such as mlflow.lab:5000}"
: "${MLFLOW_AUTH_ADMIN_PASSWORD:?of the user admin, who is made at the first start}"
: "${MLFLOW_FLASK_SERVER_SECRET_KEY:?any long random text, the same at every start}"
export MLFLOW_BACKEND_STORE_URI MLFLOW_ARTIFACTS_DESTINATION MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY
export MLFLOW_AUTH_CONFIG_PATH="${MLFLOW_AUTH_CONFIG_PATH:-$(dirname "$(realpath "$0")")/mlflow-auth.ini}"
# The list replaces MLflow's own, which is why this machine's names are in it.
exec mlflow server --app-name basic-auth --host "${HOST:-0.0.0.0}" --port "${PORT:-5000}" \
  --allowed-hosts "$ALLOWED_HOSTS,localhost:*,127.0.0.1:*"
