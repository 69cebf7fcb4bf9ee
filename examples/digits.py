"""A softmax classifier of handwritten digits, in numpy, that logs every step.

The data is scikit-learn's bundled set of 1,797 images of 8 x 8 pixels.
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits

import runbus

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--steps", type=int, default=300)
options = parser.parse_args()

images, digits = load_digits(return_X_y=True)
random = np.random.default_rng(0)
order = random.permutation(len(images))
images, digits = images[order] / 16.0, digits[order]
train, test = slice(0, 1_400), slice(1_400, None)
targets = np.eye(10)[digits]

run = runbus.init(project="digits", config=vars(options))
weights = np.zeros((64, 10))
for step in range(options.steps):
    batch = random.choice(1_400, size=256, replace=False)
    scores = images[batch] @ weights
    scores -= scores.max(axis=1, keepdims=True)
    guess = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    gradient = images[batch].T @ (guess - targets[batch]) / len(batch)
    weights -= options.lr * gradient
    run.log(
        {
            "loss": -np.log(np.maximum(guess[targets[batch] == 1], 1e-12)).mean(),
            "accuracy": (guess.argmax(axis=1) == digits[batch]).mean(),
            "grad_norm": np.linalg.norm(gradient),
        },
        step=step,
    )
test_accuracy = ((images[test] @ weights).argmax(axis=1) == digits[test]).mean()
run.log("test/accuracy", test_accuracy, step=options.steps)
run.finish()
print(f"lr {options.lr:g}: {test_accuracy:.1%} of the test images are read right")
