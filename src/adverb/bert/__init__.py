"""BERT: encoder, heads, tokenizer, masking, fill-mask, and the checkpoints of transformers."""
