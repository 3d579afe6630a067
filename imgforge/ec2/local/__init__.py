"""The endpoint that answers with nothing configured, over the folder of the local catalog."""
