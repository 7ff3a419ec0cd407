"""The REST API: operations, their answers, and the description that is made from the same types."""
