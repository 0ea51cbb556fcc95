"""One shared base with an adapter a pipeline, beside a model of its own for each: what is better where."""
