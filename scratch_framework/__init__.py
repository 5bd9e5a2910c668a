"""A deep-learning framework from ``torch.empty`` upward: no autograd, no torch.nn, every derivative by hand.

    model = Sequential(Linear(2, 25), Tanh(), Linear(25, 1))
    criterion, optimizer = MSELoss(), SGD(model.parameters(), lr=0.005)

    optimizer.zero_grad()
    loss = criterion(model(x), y)
    model.backward(criterion.backward())
    optimizer.step()

Names, defaults, weight layout and state_dict keys are those of torch.nn and torch.optim, of which this is a
subset. scratch_framework/README.md gives the order of reading.
"""

from scratch_framework.core import init
from scratch_framework.core.activations import LeakyReLU, ReLU, Sigmoid, Tanh
from scratch_framework.core.adam import Adam, AdamW
from scratch_framework.core.criterion import Criterion
from scratch_framework.core.gradient_check import check_gradients, numeric_gradient
from scratch_framework.core.linear import Linear
from scratch_framework.core.losses import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from scratch_framework.core.module import Module
from scratch_framework.core.module_list import ModuleList
from scratch_framework.core.one_cycle import OneCycleLR
from scratch_framework.core.optim import SGD, Optimizer
from scratch_framework.core.parameter import Buffer, Parameter
from scratch_framework.core.schedules import CosineAnnealingLR, LRScheduler, StepLR
from scratch_framework.core.sequential import Sequential
from scratch_framework.core.softmax import Softmax
from scratch_framework.fast.replicas import replica_state, stack_states
from scratch_framework.images.batch_norm import BatchNorm1d, BatchNorm2d
from scratch_framework.images.conv2d import Conv2d
from scratch_framework.images.dropout import Dropout
from scratch_framework.images.flatten import Flatten
from scratch_framework.images.max_pool2d import MaxPool2d
from scratch_framework.images.shared_trunk import SharedTrunk

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "CosineAnnealingLR",
    "Criterion",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "LRScheduler",
    "LeakyReLU",
    "Linear",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "OneCycleLR",
    "Optimizer",
    "Parameter",
    "ReLU",
    "Sequential",
    "SharedTrunk",
    "Sigmoid",
    "Softmax",
    "StepLR",
    "Tanh",
    "check_gradients",
    "init",
    "numeric_gradient",
    "replica_state",
    "stack_states",
]
