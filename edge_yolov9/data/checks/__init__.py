"""What is looked at in a data set: ``check`` goes through it, ``doubles`` compares boxes, ``files`` compares files."""
