"""Figures of a machine, its GPUs and the engines on it; probes of models; what is served beside what is registered."""
