"""The profile `node`: real pods, by kubelet, containerd, runc and kube-proxy in namespaces of their own.

Three things keep the machine as it was. A process named `sandbox` holds a network and a mount namespace; every rule,
route, bridge and mount is made in there and goes with it. Every process of ours is in one control group, which finds
them all, however they were left. On the host there is one veth pair and one route, removed by name.
"""
