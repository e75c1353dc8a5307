"""Functions of Flower's that it does not promise to keep: all that is used of them here.

A release that has moved one is read here, and a test says which one.
"""

from flwr.serverapp.strategy.fedtrimmedavg import trim_mean as trim_mean
from flwr.serverapp.strategy.multikrum import select_multikrum as select_multikrum
from flwr.supercore.differential_privacy import clip_inputs_inplace as clip_inputs_inplace
from flwr.supercore.differential_privacy import compute_stdv as compute_stdv
from flwr.supercore.differential_privacy import get_norm as get_norm
