"""``bench uncertainty``: whether a model knows where it is wrong, and whether its prompts mend themselves."""
