"""Reading handwritten digits: a convolutional net, trained on 3000 images of MNIST, tested on 1000 others.

Command line: python -m scratch_framework.examples.digits
"""

import torch

import scratch_framework as sf
from datamodules import load_digits


def main() -> float:
    """Train the net and print its error on the test digits, as a share."""
    torch.manual_seed(0)  # of the initial weights and the order of the images
    train, test = load_digits()  # 14x14 pixels of 0 to 255
    images, labels = train.images[:3000].unsqueeze(1) / 255, train.labels[:3000]  # (3000, 1, 14, 14), (3000,)
    model = sf.Sequential(
        *(sf.Conv2d(1, 16, 3), sf.BatchNorm2d(16), sf.ReLU(), sf.MaxPool2d(2)),  # (N, 16, 6, 6)
        *(sf.Conv2d(16, 32, 3), sf.BatchNorm2d(32), sf.ReLU(), sf.MaxPool2d(2)),  # (N, 32, 2, 2)
        *(sf.Flatten(), sf.Linear(128, 10)),  # (N, 10): a score for each class
    )
    criterion, optimizer = sf.CrossEntropyLoss(), sf.AdamW(model.parameters(), lr=0.003)
    for epoch in range(3):
        for batch in torch.randperm(3000).split(50):
            optimizer.zero_grad()
            loss = criterion(model(images[batch]), labels[batch])
            model.backward(criterion.backward())
            optimizer.step()
        print(f"epoch {epoch + 1}: loss of the last batch {loss.item():.3f}")
    model.eval()  # batch norm takes its running statistics
    answers = model(test.images[:1000].unsqueeze(1) / 255).argmax(-1)
    error = (answers != test.labels[:1000]).double().mean().item()
    print(f"test error {100 * error:.1f} %")
    return error


if __name__ == "__main__":
    main()
