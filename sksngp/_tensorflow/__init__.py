"""Everything that computes with TensorFlow.

The rest of the package enters by two doors: `network_pool.lease`, which lends a
compiled network, and `backend`, which starts TensorFlow and describes custom networks.
"""
