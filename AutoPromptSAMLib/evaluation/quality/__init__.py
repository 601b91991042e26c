"""``bench quality``: simulated prompts on labelled images, scored."""
