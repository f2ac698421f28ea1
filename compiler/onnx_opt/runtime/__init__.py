"""Running models in ONNX Runtime the way that users run them: any provider, its options, its own optimizations."""
