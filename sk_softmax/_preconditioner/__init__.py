"""Changes of variables in which F is round, and the rows that they are made from."""
