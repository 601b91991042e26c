"""How good and how fast: prompts that a simulated person gives, metrics, and the benchmarks made of both."""
