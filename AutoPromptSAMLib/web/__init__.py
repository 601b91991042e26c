"""The browser host: trame widgets on Slicer's core. It holds no algorithm and no geometry."""
