"""Architectures, as `torch.nn.Module`, one family a file; what they are trained on is not known here."""
