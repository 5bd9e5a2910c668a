"""Chapter 2's experiment with the framework: is a point of the unit square inside a disc?

The framework knows nothing of this package. Here torch is welcome: for random draws, for TensorBoard, and as
the twin that the framework is measured against.
"""
