"""The model cards lie in ``models/`` beside the package, where people look; a wheel carries them inside it."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["AutoPromptSAMLib*"]), "AutoPromptSAMLib.models"],
    package_dir={"AutoPromptSAMLib.models": "models"},
    package_data={
        "AutoPromptSAMLib.models": ["*.yaml", "*.safetensors", "*.md"],
        "AutoPromptSAMLib.web": ["static/*", "pages/*"],
    },
)
