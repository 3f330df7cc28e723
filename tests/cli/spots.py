"""A small system as a person would write it: is there a spot in the middle of the image?"""

import torch
from torch import nn

from astrid.learn import Binary, Cost, Input, Optimizer, Task, Training


class SpotNet(nn.Module):
    head_names = ("last",)
    gradcam_layer = None

    def __init__(self, inputs, outputs):
        super().__init__()
        self.first, self.dropout = nn.Linear(25, 8), nn.Dropout(0.2)
        self.last = nn.Linear(8, outputs["spot"])

    def embed(self, image):
        return torch.relu(self.first(image.flatten(1)))

    def forward(self, image):
        return {"spot": self.last(self.dropout(self.embed(image)))}


SPOTS = Task(
    name="spots",
    title="Is there a spot?",
    inputs={"image": Input(shape=(5, 5, 1), unit="counts", channels=("difference",))},
    heads={"spot": Binary(labels=("no", "yes"), cost=Cost(miss=5))},
    network="spots:SpotNet",
    training=Training(epochs=6, batch_size=64, optimizer=Optimizer(lr=1e-2), trackers=()),
    group="night",
    limits="Only for tests.",
)
