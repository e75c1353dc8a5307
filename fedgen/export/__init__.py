"""The ways out: TensorBoard, MLflow and Optuna."""
