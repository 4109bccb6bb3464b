"""The article's network in a tutorial's PyTorch loop with DataLoader: images a second, as JSON."""

import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

data = np.load(sys.argv[1])
images = torch.from_numpy(data["x_train"]).permute(0, 3, 1, 2).float() / 255
loader = DataLoader(
    TensorDataset(images, torch.from_numpy(data["y_train"])), batch_size=32, shuffle=True
)
model = nn.Sequential(
    *(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ),
    *(nn.Flatten(), nn.Linear(1600, 64), nn.ReLU(), nn.Linear(64, 10)),
)
optimiser = torch.optim.Adam(model.parameters())
loss_of = nn.CrossEntropyLoss()
before = time.perf_counter()
for batch, labels in loader:
    optimiser.zero_grad()
    loss_of(model(batch), labels).backward()
    optimiser.step()
seconds = time.perf_counter() - before
print(json.dumps({"seconds": seconds, "images_per_second": len(images) / seconds}))
