"""A Flower app after Flower's TensorFlow quickstart; it knows nothing of fedgen.

https://github.com/adap/flower/tree/main/examples/quickstart-tensorflow (flwr 1.24 and
later, Message API): the same structure and the same calls per message. Changed: the
model is fedgen's `cnn`, the data is a file instead of a download, every client takes
part, and the server notes when rounds end and how many samples they trained.
"""
