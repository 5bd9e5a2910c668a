"""Is a point of the unit square inside a disc? Five nets learn it at once, each with points of its own.

Command line: python -m scratch_framework.examples.disc
"""

import torch

import scratch_framework as sf

R = 5  # nets; of every tensor the first dimension


def main() -> torch.Tensor:
    """Train the nets and print their errors on new points, (R,)."""
    draws = torch.Generator().manual_seed(0)
    x = torch.rand(R, 2000, 2, generator=draws)
    inside = (x - 0.5).norm(dim=-1, keepdim=True) < (2 * torch.pi) ** -0.5  # half of the square
    target = inside.float()  # (R, 2000, 1); the first 1000 points are to train with, the others to test
    model = sf.Sequential(
        *(sf.Linear(2, 25, replicas=R, generator=draws), sf.Tanh()),  # weight (R, 25, 2)
        *(sf.Linear(25, 25, replicas=R, generator=draws), sf.Tanh()),
        sf.Linear(25, 1, replicas=R, generator=draws),
    )
    criterion, optimizer = sf.BCEWithLogitsLoss(replicas=R), sf.Adam(model.parameters(), lr=0.02)
    for epoch in range(30):
        for batch in torch.arange(1000).split(50):
            optimizer.zero_grad()
            loss = criterion(model(x[:, batch]), target[:, batch])  # (R,)
            model.backward(criterion.backward())
            optimizer.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss of each net {[round(value, 3) for value in loss.tolist()]}")
    errors = ((model(x[:, 1000:]) > 0) != inside[:, 1000:]).double().mean((1, 2))  # (R,)
    print(f"test error {100 * errors.mean():.1f} ± {100 * errors.std():.1f} % over {R} nets")
    return errors


if __name__ == "__main__":
    main()
