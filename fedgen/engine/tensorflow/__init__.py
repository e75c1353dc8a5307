"""The engine on TensorFlow: whole local trainings as compiled loops."""
