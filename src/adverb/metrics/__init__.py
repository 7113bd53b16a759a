"""Judging what was made: distances between real and generated samples, and the features they are taken in."""
