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
from scratch_framework.core.cross_entropy import CrossEntropyLoss, NLLLoss
from scratch_framework.core.gradient_check import check_gradients, numeric_gradient
from scratch_framework.core.linear import Linear
from scratch_framework.core.losses import BCEWithLogitsLoss, HuberLoss, L1Loss, MSELoss
from scratch_framework.core.module import Module
from scratch_framework.core.module_list import ModuleList
from scratch_framework.core.one_cycle import OneCycleLR
from scratch_framework.core.optim import SGD, Optimizer
from scratch_framework.core.parameter import Buffer, Parameter
from scratch_framework.core.rmsprop import Adagrad, RMSprop
from scratch_framework.core.schedules import CosineAnnealingLR, LRScheduler, StepLR
from scratch_framework.core.sequential import Sequential
from scratch_framework.core.smooth_activations import GELU, SiLU, Softplus
from scratch_framework.core.softmax import Softmax
from scratch_framework.fast.replicas import replica_state, stack_states
from scratch_framework.images.avg_pool2d import AdaptiveAvgPool2d, AvgPool2d
from scratch_framework.images.batch_norm import BatchNorm1d, BatchNorm2d
from scratch_framework.images.conv1d import Conv1d
from scratch_framework.images.conv2d import Conv2d
from scratch_framework.images.dropout import Dropout
from scratch_framework.images.flatten import Flatten
from scratch_framework.images.max_pool2d import MaxPool2d
from scratch_framework.images.shared_trunk import SharedTrunk
from scratch_framework.sequences.embedding import Embedding
from scratch_framework.sequences.layer_norm import LayerNorm
from scratch_framework.sequences.rnn_cell import RNNCell
from scratch_framework.sequences.self_attention import SelfAttention

__all__ = [
    "GELU",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Buffer",
    "Conv1d",
    "Conv2d",
    "CosineAnnealingLR",
    "Criterion",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "HuberLoss",
    "L1Loss",
    "LRScheduler",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "NLLLoss",
    "OneCycleLR",
    "Optimizer",
    "Parameter",
    "RMSprop",
    "RNNCell",
    "ReLU",
    "SelfAttention",
    "Sequential",
    "SharedTrunk",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "StepLR",
    "Tanh",
    "check_gradients",
    "init",
    "numeric_gradient",
    "replica_state",
    "stack_states",
]
