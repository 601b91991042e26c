"""What the panels of every host say and do: rows, sentences, where a button leads. No widget, no torch."""
