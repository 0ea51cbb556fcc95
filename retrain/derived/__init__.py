"""Models made of a trained one: merged with its adapter, quantized."""
