"""The models there are by name, a family in each module; all end in logits."""
