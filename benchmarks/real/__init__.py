"""The methods on real photographs: a real tower's features, and answers that read them."""
