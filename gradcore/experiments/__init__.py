"""The classic experiments of vanishing and exploding gradients, each to run, change and compare with its prediction."""
