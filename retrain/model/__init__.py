"""The tiny base model: tokenizer, architecture, training from scratch, batch answers. Imports torch only inside."""
