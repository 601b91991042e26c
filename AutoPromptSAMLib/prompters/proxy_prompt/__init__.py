"""Proxy Prompt: annotated images of other patients prompt SAM in a new one. Importing it does not import torch.

Written from the paper's equations; no code of its authors was at hand. ``config`` says which parts follow the paper
to the letter (``ProxyPromptConfig.paper``) and which are ours (``ProxyPromptConfig.small``).

    network = ProxyPromptNetwork(ProxyPromptConfig.small())          # network
    prompter = ProxyPrompter(network, backbone)                      # prompter
    memory = prompter.encode_supports(supports, ("disc", "cup"))     # once
    prompted = prompter.prompt(features, memory, image=image)        # for every image: uint8 (rows, cols, 3)
    decoded = prompted.refine(backbone.decode(features, prompted.embedding))
"""

from AutoPromptSAMLib.prompters.proxy_prompt.config import ProxyPromptConfig

__all__ = ["ProxyPromptConfig"]
