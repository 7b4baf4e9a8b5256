"""Benchmarks of sk_softmax against its peers: same objective, same accuracy, whole fits."""
