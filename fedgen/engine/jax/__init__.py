"""The engine on JAX: clients are lanes of one compiled program, joining and leaving at any step."""
