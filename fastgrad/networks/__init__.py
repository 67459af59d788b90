"""The book's networks, and their numerical gradients from one curve a unit.

All weights into one unit move the same number of each sample, its pre-activation. So the loss of a
sample is a function of one number, of which a few values tell every weight's central difference,
see `fastgrad.networks._curves`. A gradient costs a few forward passes a unit, through what lies
behind it, instead of two a parameter.
"""

from fastgrad.networks.multi_layer_net import MultiLayerNet, MultiLayerNetExtend
from fastgrad.networks.network import Network
from fastgrad.networks.simple_conv_net import SimpleConvNet
from fastgrad.networks.two_layer_net import TwoLayerNet

__all__ = ["MultiLayerNet", "MultiLayerNetExtend", "Network", "SimpleConvNet", "TwoLayerNet"]
