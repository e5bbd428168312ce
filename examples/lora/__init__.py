"""lora: laboratories adapt a language model to their documents together; only adapters leave them, under masks."""
