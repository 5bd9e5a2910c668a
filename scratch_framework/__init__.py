"""A deep-learning framework from ``torch.empty`` upward: no autograd, no torch.nn, every derivative by hand.

    model = Sequential(Linear(2, 25), Tanh(), Linear(25, 1))
    criterion, optimizer = MSELoss(), SGD(model.parameters(), lr=0.005)

    optimizer.zero_grad()
    loss = criterion(model(x), y)
    model.backward(criterion.backward())
    optimizer.step()

Names, arguments, defaults, weight layout and state_dict keys are those of torch.nn and torch.optim. A good
order to read: `module`, `linear`, `activations`, `sequential`, `losses`, `sgd`, `adam`, `replicas`; then for
images `windows`, `conv2d`, `max_pool2d`, `batch_norm`, `dropout`, `flatten`, `branches`.
"""

from scratch_framework import init
from scratch_framework.activations import LeakyReLU, ReLU, Sigmoid, Tanh
from scratch_framework.adam import Adam, AdamW
from scratch_framework.batch_norm import BatchNorm1d, BatchNorm2d
from scratch_framework.branches import Branches
from scratch_framework.buffer import Buffer
from scratch_framework.conv2d import Conv2d
from scratch_framework.criterion import Criterion
from scratch_framework.dropout import Dropout
from scratch_framework.flatten import Flatten
from scratch_framework.gradient_check import check_gradients, numeric_gradient
from scratch_framework.linear import Linear
from scratch_framework.losses import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from scratch_framework.max_pool2d import MaxPool2d
from scratch_framework.module import Module
from scratch_framework.module_list import ModuleList
from scratch_framework.one_cycle import OneCycleLR
from scratch_framework.optimizer import Optimizer
from scratch_framework.parameter import Parameter
from scratch_framework.replicas import replica_state, stack_states
from scratch_framework.schedules import CosineAnnealingLR, LRScheduler, StepLR
from scratch_framework.sequential import Sequential
from scratch_framework.sgd import SGD
from scratch_framework.softmax import Softmax

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Branches",
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
