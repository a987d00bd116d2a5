"""A live view of the module writebehind: sample → history → view → main."""
