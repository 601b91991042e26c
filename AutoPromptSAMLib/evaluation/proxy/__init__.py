"""``bench proxy``: how well annotated images prompt other images, beside simpler ways to use them."""
