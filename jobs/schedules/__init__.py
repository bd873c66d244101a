"""A job on a schedule: on this machine, under systemd, in Kubernetes or in Airflow."""
