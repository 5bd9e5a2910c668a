"""The framework itself: tensors in, gradients out, by hand."""
