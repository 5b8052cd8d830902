"""Write, read and find checkpoints.

checkpoint.py   write and read files of trained networks
zoo.py          find a checkpoint by name, path or address
hub.py          download a model from the Hugging Face hub
weights/        the models that ship, with their cards
"""
