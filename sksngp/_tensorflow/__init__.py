"""Everything that computes with TensorFlow.

The rest of the package uses two entry points: `network_pool.lease`, which lends a
compiled network, and `backend`, which starts TensorFlow and describes custom networks.
"""
