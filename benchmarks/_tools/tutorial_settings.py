"""Parameters of the tutorial, for its recipe and for all that it is compared with."""

LEARNING_RATE = 1e-4
EPOCHS = 100
BATCH_SIZE = 128
NUM_LAYERS = 6
NUM_HIDDEN = 128
DROPOUT_RATE = 0.1
SPEC_NORM_BOUND = 0.9
