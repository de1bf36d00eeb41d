// Nothing is built here: the lock file beside this pins the sources of the Kafka client (docs/dependencies.md).
