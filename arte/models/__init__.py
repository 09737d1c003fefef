"""Where models come from, and how they are loaded.

`resolve(settings)` turns the name in a recipe (hub id, folder, .gguf file, starter model, tiny random model) into a
checked ModelFolder; `load(folder, dtype, device)` gives model and tokenizer.
"""

from arte.models.folder import ModelFolder
from arte.models.home import arte_home
from arte.models.load import compute_dtype, load, products_per_second
from arte.models.resolve import known_parameters, resolve

__all__ = ["ModelFolder", "arte_home", "compute_dtype", "known_parameters", "load", "products_per_second", "resolve"]
