"""Generative adversarial networks: the networks, the games they play, and what keeps the game stable."""
