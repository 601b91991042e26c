"""Prompters: networks that prompt a backbone by themselves. Importing this package does not import torch.

A prompter makes a ``PromptEmbedding`` of an image's ``Features`` and a ``Request``; user prompts join it, and
``Backbone.decode`` takes it like any other. ``proxy_prompt`` learns what to look for from annotated examples.
"""

from AutoPromptSAMLib.prompters.base import Prompted, Prompter, Request, Support

__all__ = ["Prompted", "Prompter", "Request", "Support"]
