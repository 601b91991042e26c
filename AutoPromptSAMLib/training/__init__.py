"""Training of prompters: annotated images, episodes, losses and recipes. Importing it does not import torch."""
