"""The machine: devices, threads, memory of the interpreter, files and progress."""
