"""XOR, which no single linear layer can learn: the smallest training, with every step of it in sight.

Command line: python -m scratch_framework.examples.xor
"""

import torch

import scratch_framework as sf

X = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])  # (4, 2): all inputs
TARGET = torch.tensor([[0.0], [1.0], [1.0], [0.0]])  # (4, 1): whether exactly one of the two is 1


def main() -> torch.Tensor:
    """Train the net and print its outputs, (4, 1)."""
    weights = torch.Generator().manual_seed(0)  # of the initial weights; another seed is another training
    model = sf.Sequential(sf.Linear(2, 8, generator=weights), sf.Tanh(), sf.Linear(8, 1, generator=weights))
    criterion = sf.MSELoss()
    optimizer = sf.SGD(model.parameters(), lr=0.1)
    for step in range(501):
        optimizer.zero_grad()  # gradients add up: start from 0
        loss = criterion(model(X), TARGET)  # forward: from the inputs to the loss
        model.backward(criterion.backward())  # backward: from dL/dy to the gradient of every weight
        optimizer.step()  # a small step against the gradient
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
    outputs = model(X)
    for (a, b), output in zip(X.tolist(), outputs, strict=True):
        print(f"{a:.0f} xor {b:.0f} = {output.item():.2f}")
    return outputs


if __name__ == "__main__":
    main()
