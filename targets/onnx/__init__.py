"""Any CPU by ONNX Runtime: one ONNX file; also what the graphs of other targets are checked in."""
