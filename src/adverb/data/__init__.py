"""Data sets as training wants them: images here, in time text, audio and music; and the order they are read in."""
